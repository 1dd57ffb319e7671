"""Engines of the fake TensorRT, and one of TensorRT-RTX."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from export.engine import choice
from export.engine.build import build_engine
from export.engine.plan import EnginePlan
from tests.support.fake_engines import engines as engines
from tests.support.fake_engines import pixel_engines as pixel_engines
from tests.support.small_networks import network


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small engine of TensorRT-RTX and its ONNX file."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    folder = tmp_path_factory.mktemp("engines")
    (folder / "tiny.onnx").write_bytes(network())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))
        build_engine(folder / "tiny.onnx", folder / "tiny.rtx.engine", EnginePlan(targets=("8.9",)))
    return folder
