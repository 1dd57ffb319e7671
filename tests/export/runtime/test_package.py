"""There is one implementation of loading and running an artifact, and a bundle has the same files."""

import ast
import sys
from pathlib import Path

import pytest

from bench.sessions.exported import ENGINES, RUNTIMES, SESSIONS
from export import runtime
from export.runtime.registry import RUNTIMES as REGISTRY
from export.runtime.registry import session_class
from tests.support.bundles import DEVICE
from tests.support.command_line import ROOT

PACKAGE = Path(runtime.__file__).parent
LIBRARIES = {"numpy", "cv2", "onnxruntime", "openvino"}
LOADS = {
    "onnxruntime.InferenceSession(": {
        "export/runtime/onnx_runtime.py",
        "bench/machine/facts.py",
    },  # a probe in a child process
    "core.compile_model(": {"export/runtime/openvino.py"},
    "Core()": {"export/runtime/openvino.py"},
    ".deserialize_cuda_engine(": {"export/runtime/tensorrt.py"},
    "build_serialized_network(": {"export/runtime/engine_builder.py"},
    "create_builder_config()": {"export/runtime/engine_builder.py"},
}
"""Call → the files that may contain it."""


@pytest.mark.parametrize("call", LOADS)
def test_one_module_loads_for_each_runtime(call: str) -> None:
    files = [file for folder in ("export", "bench", "cli", "demo", "scripts") for file in (ROOT / folder).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix() for file in files if call in file.read_text(encoding="utf-8")}
    assert found == LOADS[call]


def test_a_bundle_has_the_very_same_package() -> None:
    ours = {path.name: path.read_bytes() for path in PACKAGE.iterdir() if path.is_file()}
    theirs = {path.name: path.read_bytes() for path in (DEVICE / "pose_runtime/runtime").iterdir() if path.is_file()}
    assert ours == theirs
    assert len(ours) > 10


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_the_package_needs_nothing_else_of_the_project(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))))
    relative = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    assert all(node.level == 1 for node in relative)
    named = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.split(".")[0] for name in named} - set(sys.stdlib_module_names) <= LIBRARIES


def test_every_runtime_has_a_session() -> None:
    assert SESSIONS.keys() == set(RUNTIMES)
    assert {name.replace("-", "_") for name in ENGINES} == {name for name, about in REGISTRY.items() if about.on_gpu}
    for name in ("onnxruntime", "openvino"):
        assert session_class(name).runtime == name
