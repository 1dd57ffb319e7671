"""GPU candidates of a machine, and the reasons why it skips the others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.harness.candidates import QUICK, find_candidates
from bench.sessions import gpu_runtimes
from bench.sessions.exported import ENGINES, GPU_RUNTIMES, read_export
from export.common.errors import BadInput, NotPossible
from export.common.files import sha256_file
from export.pipeline.manifest import write_manifest
from export.runtime.engine_file import TENSORRT, TENSORRT_RTX
from export.runtime.gpu import Gpu
from tests.export.pipeline.test_recipe import manifest
from tests.support.command_line import assert_three_parts, in_process
from tests.support.engines import ADA, artifact_entry, without_gpu, write_engine

HOPPER = Gpu("NVIDIA H100", "9.0", 80 << 30, 132)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export with one ONNX file and no engine."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/L-fp32.onnx").write_bytes(b"content")
    write_manifest(tmp_path, manifest(artifact_entry(tmp_path, "onnx", "onnx")))
    return tmp_path


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gpu], None]:
    """A machine on which everything is installed and torch reaches this GPU."""

    def plug_in(gpu: Gpu) -> None:
        monkeypatch.setattr(gpu_runtimes, "default_gpu", lambda: (gpu, ""))
        monkeypatch.setattr(gpu_runtimes, "torch_trouble", lambda: "")
        monkeypatch.setattr(gpu_runtimes, "no_package", lambda runtime: "")
        monkeypatch.setattr(gpu_runtimes, "version", lambda name: "absent")
        monkeypatch.setattr("bench.harness.candidates.find_spec", lambda name: object())

    return plug_in


def find(
    folder: Path, runtimes: tuple[str, ...] = QUICK, reference: str | None = None
) -> tuple[list[str], dict[str, str]]:
    candidates, skipped = find_candidates(read_export(folder), runtimes, None, 1, reference)
    return [f"{c.runtime} {c.precision}" for c in candidates], {row.runtime: row.reason for row in skipped}


@without_gpu
def test_without_a_driver_every_gpu_runtime_says_so(folder: Path) -> None:
    candidates, reasons = find(folder)
    assert not any(name.split()[0] in GPU_RUNTIMES for name in candidates)
    assert candidates[0] == "pytorch fp32"
    assert all("NVIDIA driver" in reasons[runtime] for runtime in GPU_RUNTIMES)
    left_out = find(folder, ("onnxruntime",))[1]
    assert all("NVIDIA driver" in left_out[runtime] for runtime in GPU_RUNTIMES)


def test_with_a_gpu_its_rows_are_compared_with_pytorch_on_it(folder: Path, with_gpu: Callable[[Gpu], None]) -> None:
    with_gpu(ADA)
    write_engine(
        folder / "engines/L-fp32.rtx.engine", TENSORRT_RTX, onnx_sha256=sha256_file(folder / "onnx/L-fp32.onnx")
    )
    candidates, reasons = find(folder)
    assert candidates[0] == "pytorch-cuda fp32"
    expected = {"pytorch", "pytorch-cuda-graph", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt-rtx"}
    assert {f"{runtime} fp32" for runtime in expected} < set(candidates)
    assert "no engines/L-fp32.trt.engine" in reasons["tensorrt"]
    assert "convnextpose export, or the commands of recipe.md" in reasons["tensorrt"]
    assert find(folder, reference="pytorch")[0][0] == "pytorch fp32"
    assert find(folder, ("onnxruntime-cuda",))[0] == ["pytorch-cuda fp32", "onnxruntime-cuda fp32"]
    assert find(folder, ("onnxruntime",))[0] == ["pytorch fp32", "onnxruntime fp32"]


def test_an_engine_for_another_gpu(folder: Path, with_gpu: Callable[[Gpu], None]) -> None:
    with_gpu(Gpu("NVIDIA GeForce RTX 5090", "12.0", 32 << 30, 16))
    digest = sha256_file(folder / "onnx/L-fp32.onnx")
    for product in (TENSORRT, TENSORRT_RTX):
        write_engine(folder / f"engines/L-fp32{product.suffix}", product, onnx_sha256=digest)
    reasons = find(folder)[1]
    assert "this GPU is NVIDIA GeForce RTX 5090 (12.0); build it with --targets 12.0" in reasons["tensorrt-rtx"]
    assert f"tuned on {ADA.name}" in reasons["tensorrt"]


def test_a_gpu_that_rtx_does_not_know(folder: Path, with_gpu: Callable[[Gpu], None]) -> None:
    with_gpu(HOPPER)
    candidates, reasons = find(folder)
    assert "does not run on compute capability 9.0 (NVIDIA H100)" in reasons["tensorrt-rtx"]
    assert "onnxruntime-cuda fp32" in candidates


def test_a_gpu_that_others_use_is_not_measured(
    folder: Path, with_gpu: Callable[[Gpu], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu(ADA)
    monkeypatch.setattr(gpu_runtimes, "other_processes", lambda: 2)
    assert find(folder)[1]["onnxruntime-cuda"].startswith("2 other processes compute on the GPU")


@without_gpu
def test_torch_for_the_cpu_is_told_apart_from_a_gpu_that_torch_does_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is a real child process, which reaches no GPU here."""
    monkeypatch.setattr(gpu_runtimes, "torch_cuda", lambda: "13.0")
    assert gpu_runtimes.torch_trouble.__wrapped__().startswith("torch does not reach the GPU: ")

    def built_for_cpu() -> str:
        raise RuntimeError("torch is built for the CPU only")

    monkeypatch.setattr(gpu_runtimes, "torch_cuda", built_for_cpu)
    assert "install torch built for CUDA" in gpu_runtimes.torch_trouble.__wrapped__()


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_runtimes, "find_spec", lambda name: None)
    for runtime in ENGINES:
        assert f"pip install 'convnextpose-deploy[{runtime}]'" in gpu_runtimes.no_package(runtime)
    assert "pip install onnxruntime-gpu" in gpu_runtimes.no_package("onnxruntime-cuda")
    assert gpu_runtimes.no_package("pytorch-cuda") == ""

    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(gpu_runtimes, "find_spec", lambda name: Spec)
    assert "was built without it" in gpu_runtimes.no_package("onnxruntime-tensorrt")


@without_gpu
def test_an_impossible_reference_is_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"unknown reference — onnxruntime — choose from pytorch, pytorch-cuda"):
        find(folder, reference="onnxruntime")
    with pytest.raises(NotPossible, match=r"pytorch-cuda cannot be the reference here — .*driver"):
        find(folder, reference="pytorch-cuda")


@without_gpu
@pytest.mark.parametrize("runtime", ["tensorrt-rtx", "onnxruntime-cuda,onnxruntime-tensorrt"])
def test_a_gpu_runtime_without_a_gpu_is_no_traceback(folder: Path, runtime: str) -> None:
    run = in_process("bench", folder, "--runtime", runtime, cwd=folder)
    assert_three_parts(run, 4)
    for name in runtime.split(","):
        assert f"{name}: there is no NVIDIA driver" in " ".join(run.stderr.split())
    assert not (folder / "bench/result.json").exists()


def test_an_engine_needs_no_torch_on_the_gpu(
    folder: Path, with_gpu: Callable[[Gpu], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu(ADA)
    monkeypatch.setattr(gpu_runtimes, "torch_trouble", lambda: "torch is built for the CPU only")
    digest = sha256_file(folder / "onnx/L-fp32.onnx")
    write_engine(folder / "engines/L-fp32.rtx.engine", TENSORRT_RTX, onnx_sha256=digest)
    candidates, reasons = find(folder)
    assert (candidates[0], "tensorrt-rtx fp32" in candidates) == ("pytorch fp32", True)
    for runtime in ("pytorch-cuda", "onnxruntime-cuda"):
        assert reasons[runtime] == "torch is built for the CPU only"
