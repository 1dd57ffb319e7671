"""Engine files that are refused before they are loaded, and refusals of the real library."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.sessions import tensorrt
from bench.sessions.engine_file import check_engine, require_gpu, require_version
from bench.sessions.tensorrt import TensorRTEngine
from export.common.errors import BadInput, NotPossible
from export.runtime.engine_file import TENSORRT, TENSORRT_RTX
from export.runtime.gpu import Gpu
from tests.support.engines import ADA, ORIN, RECORD, overwrite, without_gpu, write_engine

TUNED = replace(RECORD, runtime="tensorrt", targets=(), gpu=ORIN)
"""Record of an engine that TensorRT tuned on a Jetson."""
WIDE = replace(
    TUNED, hardware_compatible=True, version_compatible=True, package_version="10.13.3.9", plan_version="10.13.3.9"
)
"""Record of an engine for other GPUs and later versions too."""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "cannot read the engine"),
        (lambda path: path.write_bytes(b""), "is no engine"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "20 bytes in place of 35"),
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "30 bytes in place of 35"),
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
def test_damaged_files(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    path = tmp_path / "e"
    record = write_engine(path, TENSORRT_RTX)
    assert check_engine(path, TENSORRT_RTX) == record
    damage(path)
    with pytest.raises(BadInput, match=message):
        TensorRTEngine(path, TENSORRT_RTX)


@without_gpu
def test_a_real_engine_needs_a_gpu(real: Path) -> None:
    with pytest.raises(NotPossible, match=r"engines run on an NVIDIA GPU only.*choose onnxruntime"):
        TensorRTEngine(real / "tiny.rtx.engine", TENSORRT_RTX)


@without_gpu
def test_the_real_library_s_refusal_is_in_the_message(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver TensorRT-RTX returns None and logs errors."""
    monkeypatch.setattr(tensorrt, "first_gpu", lambda: ADA)
    with pytest.raises(NotPossible, match=r"TensorRT-RTX 1\..* does not load .*tiny.rtx.engine — .*cudaError 35"):
        TensorRTEngine(real / "tiny.rtx.engine", TENSORRT_RTX)


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="tensorrt is installed")
def test_the_library_is_not_installed(tmp_path: Path) -> None:
    write_engine(tmp_path / "e", TENSORRT)
    with pytest.raises(NotPossible, match=r"tensorrt is not installed.*pip install tensorrt"):
        TensorRTEngine(tmp_path / "e", TENSORRT)


def test_versions_and_gpus_that_run_an_engine() -> None:
    path = Path("e")
    for version in ("1.7.1.116", "1.7.1.post1"):
        require_version(path, RECORD, TENSORRT_RTX, version)
    for version in ("10.13.3.9", "11.0.0.114"):
        require_version(path, WIDE, TENSORRT, version)
    require_gpu(path, RECORD, ADA)
    require_gpu(path, TUNED, ORIN)
    require_gpu(path, TUNED, replace(ORIN, memory_bytes=7 << 30))  # the kernel reserves more
    require_gpu(path, WIDE, ADA)
    require_gpu(path, WIDE, Gpu("NVIDIA GeForce RTX 5090", "12.0", 1, 16))


@pytest.mark.parametrize(
    ("record", "product", "installed", "message"),
    [
        (RECORD, TENSORRT_RTX, "1.6.0.1", r"built by TensorRT-RTX 1\.7\.1\.116, and 1\.6\.0\.1 is installed"),
        (
            replace(RECORD, plan_version="1.6.0.1"),
            TENSORRT_RTX,
            "1.7.1.116",
            r"built by TensorRT-RTX 1\.6\.0\.1, and 1\.7\.1\.116 is installed",
        ),
        (WIDE, TENSORRT, "10.9.0.34", "needs another"),
        (WIDE, TENSORRT, "9.3.0", "needs another"),
    ],
)
def test_another_version(record: Any, product: Any, installed: str, message: str) -> None:
    with pytest.raises(NotPossible, match=message):
        require_version(Path("e"), record, product, installed)


@pytest.mark.parametrize(
    ("record", "gpu", "message"),
    [
        (RECORD, Gpu("NVIDIA H100", "9.0", 1, 16), r"capability 8\.9, and this GPU is NVIDIA H100 \(9\.0\)"),
        (TUNED, ADA, r"tuned on Orin \(8.7, 8 multiprocessors, 7.4 GiB\), and this is NVIDIA"),
        (WIDE, Gpu("Tesla T4", "7.5", 1, 16), r"tuned on Orin \(.*, and this is Tesla T4"),
        # The driver may give every Jetson of a generation the same name.
        (TUNED, replace(ORIN, multiprocessors=16), r"this is Orin \(8.7, 16 multiprocessors, 7.4 GiB\)"),
        (TUNED, replace(ORIN, compute_capability="8.6"), r"this is Orin \(8.6, 8 multiprocessors, 7.4 GiB\)"),
        (TUNED, replace(ORIN, memory_bytes=15 << 30), r"this is Orin \(8.7, 8 multiprocessors, 15.0 GiB\)"),
    ],
)
def test_another_gpu(record: Any, gpu: Gpu, message: str) -> None:
    with pytest.raises(NotPossible, match=message):
        require_gpu(Path("e"), record, gpu)
    assert gpu.kind != ORIN.kind  # neither counts it as built, nor shares its kernel timings
