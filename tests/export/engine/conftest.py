"""What engines are built from and run on here: a small network, TensorRT-RTX, and a runtime made of Python."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from export.common.files import PARTIAL_PREFIX
from export.engine import choice as engine_runtime
from export.engine.build import build_engine
from export.engine.plan import BACKENDS, EnginePlan
from export.runtime.gpu import Driver
from tests.export.engine.fakes import World
from tests.export.engine.networks import network


def partials(folder: Path) -> list[Path]:
    return list(folder.rglob(PARTIAL_PREFIX + "*"))


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX even where TensorRT is installed as well."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    monkeypatch.setattr(engine_runtime, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(network())
    return path


@pytest.fixture
def no_partial_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not partials(tmp_path)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small engine, and the ONNX file that it was built from."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    folder = tmp_path_factory.mktemp("engines")
    (folder / "tiny.onnx").write_bytes(network())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_runtime, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))
        build_engine(folder / "tiny.onnx", folder / "tiny.rtx.engine", EnginePlan(targets=("8.9",)))
    return folder


@pytest.fixture(params=list(BACKENDS.values()), ids=list(BACKENDS))
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: Driver) -> World:
    return World(request.param, tmp_path, monkeypatch)
