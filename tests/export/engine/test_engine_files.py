"""Engine files that are refused before anything is loaded, and what the real library says of others."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.sessions import tensorrt
from bench.sessions.engine_file import check_engine
from bench.sessions.tensorrt import TensorRTEngine
from export.common.errors import BadInput, NotPossible
from export.common.files import sha256_file
from export.engine.plan import TENSORRT, TENSORRT_RTX
from export.runtime import gpu
from export.runtime.gpu import first_gpu
from tests.export.engine.files import overwrite, truncate, write_engine
from tests.export.engine.gpu import ADA, without_gpu


def test_a_sound_file(tmp_path: Path) -> None:
    record = write_engine(tmp_path / "e", TENSORRT_RTX)
    assert check_engine(tmp_path / "e", TENSORRT_RTX) == record


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "cannot read the engine"),
        (lambda path: truncate(path, 0), "is no engine"),
        (lambda path: truncate(path, 20), "20 bytes in place of 35"),
        (lambda path: truncate(path, 30), "30 bytes in place of 35"),
        (lambda path: overwrite(path, 0, b"ONNX"), r"begins with b'ONNX'"),
        (lambda path: overwrite(path, 0, b"\xff\xfe\x00\x01"), "is no engine"),
        (lambda path: overwrite(path, 0, b"ftrt"), "an engine of TensorRT, not of TensorRT-RTX.*--runtime tensorrt,"),
        (
            lambda path: overwrite(path, 24, bytes([1, 6])),
            "1.7.1.116 in the record, tensorrt_rtx 1.6.1.116 in the file",
        ),
        (lambda path: overwrite(path, 30, b"X"), "another sha256"),
        (lambda path: Path(f"{path}.json").unlink(), "engine record"),
        (lambda path: Path(f"{path}.json").write_text("{}"), "engine record"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / "e"
    write_engine(path, TENSORRT_RTX)
    damage(path)
    with pytest.raises(BadInput, match=said):
        TensorRTEngine(path, TENSORRT_RTX)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "default_gpu", lambda: (None, "planted reason"))
    with pytest.raises(NotPossible, match="planted reason") as caught:
        first_gpu()
    assert caught.value.exit_code == 4


@without_gpu
def test_a_real_engine_needs_a_gpu(real: Path) -> None:
    with pytest.raises(NotPossible, match=r"engines run on an NVIDIA GPU only.*choose onnxruntime"):
        TensorRTEngine(real / "tiny.rtx.engine", TENSORRT_RTX)


@without_gpu
def test_a_refusal_of_the_real_library_is_told(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver TensorRT-RTX answers None and lines in its log, which end up in the message."""
    monkeypatch.setattr(tensorrt, "first_gpu", lambda: ADA)
    with pytest.raises(NotPossible, match=r"TensorRT-RTX 1\..* does not load .*tiny.rtx.engine — .*cudaError 35"):
        TensorRTEngine(real / "tiny.rtx.engine", TENSORRT_RTX)


@without_gpu
def test_a_file_that_only_the_library_can_judge(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off, with a record that was made to agree: the library refuses, and its own words are shown."""
    monkeypatch.setattr(tensorrt, "first_gpu", lambda: ADA)
    path = tmp_path / "cut"
    path.write_bytes((real / "tiny.rtx.engine").read_bytes()[:-100])
    record = json.loads((real / "tiny.rtx.engine.json").read_text())
    record |= {"size_bytes": path.stat().st_size, "engine_sha256": sha256_file(path)}
    Path(f"{path}.json").write_text(json.dumps(record))
    with pytest.raises(NotPossible, match=r"header\.size == blobSize"):
        TensorRTEngine(path, TENSORRT_RTX)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="tensorrt is installed")
def test_the_library_is_not_installed(tmp_path: Path) -> None:
    write_engine(tmp_path / "e", TENSORRT)
    with pytest.raises(NotPossible, match=r"tensorrt is not installed.*pip install tensorrt"):
        TensorRTEngine(tmp_path / "e", TENSORRT)
