"""Every TensorRT member that the code calls exists, with that number of arguments, in every supported version.

mypy holds the code to the declarations of ``export.runtime.tensorrt_api``. The first tests hold the declarations to the
members of NVIDIA's bindings, which ``tests/support/tensorrt_members.py`` lists.
"""

import ast
import inspect
import re
import sys
import typing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from export.runtime import tensorrt_api
from export.runtime.tensorrt_api import RTX_ONLY
from tests.support import fake_tensorrt
from tests.support.command_line import ROOT
from tests.support.tensorrt_members import LIST, RTX, Members, api_classes, members_of, read_list

VERSIONS = read_list()
IMPORT = re.compile(r"from (?:export\.runtime|)\.tensorrt_api import")
USERS = sorted(
    file.relative_to(ROOT).as_posix()
    for package in ("export", "bench", "cli")
    for file in (ROOT / package).rglob("*.py")
    if IMPORT.search(file.read_text(encoding="utf-8"))
)
"""Files that call TensorRT."""
ONLY_RTX = {"create_runtime_config", "set_compute_capability"}


def declared(api: ModuleType = tensorrt_api) -> list[tuple[str, range | None]]:
    """``[("Builder.create_network", range(1, 2)), …]``: what is declared, and the numbers of arguments of a call."""
    members: list[tuple[str, range | None]] = []
    for name in api_classes():
        cls = getattr(api, name)
        members.append((name, None))
        kinds = {**typing.get_type_hints(cls, vars(api)), **vars(cls)}
        members += [(f"{name}.{member}", arguments(kind)) for member, kind in kinds.items() if member[0] != "_"]
    hints = typing.get_type_hints(api.TensorRT, vars(api))
    members += [(f"{name}.__init__", count) for name, kind in hints.items() if (count := arguments(kind)) is not None]
    return members


def arguments(kind: Any) -> range | None:
    """Return how many arguments a call may have, without ``self``; None: it is no call."""
    if inspect.isfunction(kind):
        parameters = list(inspect.signature(kind).parameters.values())[1:]
        return range(sum(p.default is p.empty for p in parameters), len(parameters) + 1)
    match typing.get_args(kind):
        case [list(parameters), _]:  # Callable[[…], …]
            return range(len(parameters), len(parameters) + 1)
    return None


def missing(members: Members, api: ModuleType = tensorrt_api, *, rtx: bool) -> list[str]:
    """Return declared members that are absent, or do not take that number of arguments."""
    wrong = []
    for name, calls in declared(api):
        if not rtx and any(name == only or name.startswith(only + ".") for only in RTX_ONLY):
            continue
        cls, _, member = name.partition(".")
        signatures = members.get(cls, {}).get(member) if member else [] if cls in members else None
        if signatures is None:
            wrong.append(f"{name} is gone")
        elif (calls is not None) != bool(signatures):
            wrong.append(f"{name} is {'no call' if calls is not None else 'a call'}")
        else:
            taken = [takes(signature) for signature in signatures]
            lost = [count for count in calls or () if not any(count in counts for counts in taken)]
            wrong += [f"{name} takes no {count} arguments" for count in lost]
    return wrong


def takes(signature: str) -> range:
    """``"(model, path=)"`` → 1 or 2 arguments."""
    parameters = [part for part in signature.strip("()").split(", ") if part]
    return range(sum(not part.endswith("=") for part in parameters), len(parameters) + 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_declared_exists(version: str) -> None:
    assert missing(VERSIONS[version], rtx=version == RTX) == []


def test_the_list_is_whole() -> None:
    assert [version.split(".")[0] for version in VERSIONS] == ["10", "10", "10", "11", "11", "RTX 1"]
    assert set(VERSIONS[RTX]) == set(api_classes())
    assert LIST.stat().st_size < 60_000


def test_the_list_is_true_of_the_installed_rtx() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    assert missing(members_of(rtx), rtx=True) == []
    if rtx.__version__.startswith(RTX.removeprefix("RTX ")):
        assert members_of(rtx) == VERSIONS[RTX]


@pytest.mark.parametrize(
    ("before", "after", "gone_from", "message"),
    [
        ("    TF32: E", "    FP16: E", ["11.0", "11.4", RTX], "BuilderFlag.FP16 is gone"),
        (
            "create_network: Callable[[int]",
            "create_network: Callable[[int, int]",
            [*VERSIONS],
            "Builder.create_network takes no 2 arguments",
        ),
        ("[[ILogger], Builder]", "[[], Builder]", [*VERSIONS], "Builder.__init__ takes no 0 arguments"),
        ("num_layers: int", "num_layers: Callable[[], int]", [*VERSIONS], "INetworkDefinition.num_layers is no call"),
        ("infer_shapes: Callable[[], list[str]]", "infer_shapes: int", [*VERSIONS], "infer_shapes is a call"),
        ('    "IRuntimeConfig",\n', "", ["10.3"], "IRuntimeConfig is gone"),
    ],
)
def test_a_wrong_declaration_is_seen(before: str, after: str, gone_from: list[str], message: str) -> None:
    source = Path(tensorrt_api.__file__).read_text()
    assert source.count(before) == 1
    api = ModuleType("export.runtime.tensorrt_api")
    exec(compile(source.replace(before, after), "planted", "exec"), vars(api))
    only = vars(api)["RTX_ONLY"]
    versions = []
    for version, members in VERSIONS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.modules[__name__], "RTX_ONLY", only)
            if any(message in line for line in missing(members, api, rtx=version == RTX)):
                versions.append(version)
    assert versions == gone_from


def test_the_fake_has_only_members_that_exist() -> None:
    for version, classes in VERSIONS.items():
        for name in classes.keys() & vars(fake_tensorrt).keys():
            fake, rtx = getattr(fake_tensorrt, name), version == RTX
            if name in RTX_ONLY and not rtx:
                continue
            only_rtx = set() if rtx else ONLY_RTX
            values = vars(fake) if isinstance(fake, SimpleNamespace) else dict.fromkeys(methods(fake))
            assert values.keys() - only_rtx - {"__members__"} <= classes[name].keys(), (version, name)


def methods(cls: type) -> set[str]:
    return {name for name, value in vars(cls).items() if callable(value) and not name.startswith("_")}


# ── the code keeps to what is declared ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", USERS)
def test_no_user_declares_any(path: str) -> None:
    """``Any`` would pass the type checker: no parameter, variable or result has it, nor a loaded module."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        kinds = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        assert not any(isinstance(kind, ast.Name) and kind.id == "Any" for kind in kinds), ast.unparse(node)
        if isinstance(node, ast.Assign):
            assert not re.search("import_module|load_library", ast.unparse(node.value)), ast.unparse(node)
