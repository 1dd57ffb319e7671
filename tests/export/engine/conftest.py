"""A small network, and TensorRT-RTX without a GPU."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from export.common.files import PARTIAL_PREFIX
from export.engine import choice
from tests.support.fake_engines import engines as engines
from tests.support.small_networks import network


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose TensorRT-RTX even where TensorRT is installed as well."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(network())
    return path


@pytest.fixture
def no_partial_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob(PARTIAL_PREFIX + "*"))
