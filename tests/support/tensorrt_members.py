"""Members of TensorRT's Python API in each version: writes ``tests/support/tensorrt_members.json``.

    python -m tests.support.tensorrt_members

NVIDIA's bindings are small wheels without the libraries. Each is downloaded into a temporary folder and imported in its
own process, over a library of nine empty functions, so that its classes can be listed but not run. The list has all
members of the classes of ``export.runtime.tensorrt_api``, so that a new call needs no new list. It needs a C compiler,
the network, and Python 3.11 on Linux x86-64 for the oldest wheels. No NVIDIA file enters the repository.
"""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.common.files import write_text
from export.runtime import tensorrt_api

WHEELS = {
    "10.3": "tensorrt_cu12_bindings==10.3.0",
    "10.13": "tensorrt_cu12_bindings==10.13.3.9",
    "10.16": "tensorrt_cu12_bindings==10.16.1.11",
    "11.0": "tensorrt_cu13_bindings==11.0.0.114",
    "11.4": "tensorrt_cu13_bindings==11.4.0.106",
}
"""10.3 is in JetPack 6, 10.13 in JetPack 7.1; 10.16 is the last before 11."""

RTX = "RTX 1.7"
LIST = Path(__file__).with_suffix(".json")

SYMBOLS = (
    *("createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL", "createInferRefitter_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getPluginRegistry", "getBuilderPluginRegistry", "initLibNvInferPlugins"),
)
LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")

Members = dict[str, dict[str, list[str]]]
"""Class → member → its signatures, such as ``(a, b=)``; none if it is no call."""


def api_classes() -> list[str]:
    """Return NVIDIA's classes that ``export.runtime.tensorrt_api`` declares."""
    classes = {name: value for name, value in vars(tensorrt_api).items() if inspect.isclass(value)}
    own = {"Enumerator", "TensorRT"}
    return sorted(name for name, cls in classes.items() if cls.__module__ == tensorrt_api.__name__ and name not in own)


def members_of(module: Any) -> Members:
    """Return the members of those classes in this module; absent classes are left out."""
    members: Members = {}
    for name in api_classes():
        cls = getattr(module, name, None)
        if cls is None:
            continue
        names = ["__init__", *sorted(member for member in dir(cls) if not member.startswith("_"))]
        members[name] = {member: signatures(getattr(cls, member)) for member in names}
    return members


def signatures(member: Any) -> list[str]:
    """Return ``["(network, config)"]`` from pybind11's docstring: an entry per overload, without ``self`` and types."""
    if not callable(member) or isinstance(member, type):
        return []
    lines = (member.__doc__ or "").splitlines()
    return [bare(line) for line in lines if re.match(r"(\d+\. )?\w+\(self: ", line)]


def bare(line: str) -> str:
    """Turn ``parse(self: X, model: Buffer, path: str = None) -> bool`` into ``(model, path=)``."""
    inside, depth, parts = line[line.index("(") + 1 :], 0, [""]
    for character in inside:
        if depth == 0 and character == ")":
            break
        depth += (character in "([{<") - (character in ")]}>")
        if depth == 0 and character == ",":
            parts.append("")
        else:
            parts[-1] += character
    return "(" + ", ".join(part.split(":")[0].strip() + "=" * (" = " in part) for part in parts[1:]) + ")"


def fetch_and_read(requirement: str, folder: Path) -> Members:
    """Return the members of one wheel's bindings."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--only-binary=:all:", "--target", folder, requirement], check=True)
    major = requirement.split("==")[1].split(".")[0]
    code = "\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in SYMBOLS)
    for library in LIBRARIES:
        name = f"{library}.so.{major}"
        build = ["cc", "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run(build, input=code.encode(), check=True)
    paths = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-m", "tests.support.tensorrt_members", "tensorrt_bindings"]
    child = subprocess.run(command, env=os.environ | paths, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(child.stdout))


def by_member(versions: dict[str, Members]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return class → member → signatures in one text → versions with these signatures."""
    merged: dict[str, dict[str, dict[str, list[str]]]] = {}
    for version, classes in versions.items():
        for cls, members in classes.items():
            for member, calls in members.items():
                merged.setdefault(cls, {}).setdefault(member, {}).setdefault(" | ".join(calls), []).append(version)
    return merged


def read_list() -> dict[str, Members]:
    """Read the committed list: version → class → member → signatures."""
    listed = json.loads(LIST.read_text())
    versions: dict[str, Members] = {version: {} for version in listed["versions"]}
    for cls, member, text, version in _rows(listed["classes"]):
        versions[version].setdefault(cls, {})[member] = text.split(" | ") if text else []
    return versions


def _rows(classes: dict[str, dict[str, dict[str, list[str]]]]) -> Iterator[tuple[str, str, str, str]]:
    for cls, members in classes.items():
        for member, calls in members.items():
            for text, versions in calls.items():
                yield from ((cls, member, text, version) for version in versions)


def main() -> None:
    """Print the members of the module in the first argument, or write the list of all versions."""
    if len(sys.argv) > 1:
        print(json.dumps(members_of(importlib.import_module(sys.argv[1]))))
        return
    versions = {}
    for version, requirement in WHEELS.items():
        with tempfile.TemporaryDirectory() as folder:
            versions[version] = fetch_and_read(requirement, Path(folder))
        print(f"{version}: {sum(map(len, versions[version].values()))} members", file=sys.stderr)
    versions[RTX] = members_of(importlib.import_module("tensorrt_rtx"))
    head = {"schema_version": 1, "versions": {**WHEELS, RTX: "tensorrt_rtx, as installed"}}
    text = json.dumps({**head, "classes": by_member(versions)}, indent=1)
    # Lists of versions on one line keep the file readable.
    write_text(LIST, re.sub(r"\[\s+([^\]]*?)\s+\]", lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", text) + "\n")


if __name__ == "__main__":
    main()
