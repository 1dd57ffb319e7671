"""Engines of a bundle, built by the real TensorRT-RTX, which needs no GPU for it."""

import subprocess
import sys
from pathlib import Path

import pose_runtime
import pytest
from pose_runtime import engine_cache
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import built_here
from pose_runtime.engines import find_engine
from pose_runtime.runtime.engine_file import TENSORRT_RTX
from pose_verify import device

from export.runtime.gpu import Driver
from tests.export.bundle.engines import ADA
from tests.support.bundles import PROBE_FREE, copied, flip_last, rewrite
from tests.support.command_line import assert_three_parts


def build(bundle: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(bundle / "build.py"), *arguments]
    settings = PROBE_FREE | {"HOME": str(bundle.parent)} | environment
    run = subprocess.run(command, cwd="/", env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in run.stderr, run.stderr
    return run


def test_a_real_engine_is_built_and_kept(once_bundle: Path, tmp_path: Path, cached: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    bundle = copied(once_bundle, tmp_path)
    asked = ("--runtime", "tensorrt_rtx", "--targets", "8.9,12.0", "--precision", "int8,fp16", "--batches", "1,2,4")
    run = build(bundle, *asked, **{engine_cache.VARIABLE: str(cached)})
    assert run.returncode == 0, run.stderr
    source = Bundle(bundle).onnx("fp16")["sha256"]
    [kept] = built_here("tensorrt_rtx", source)
    assert (kept["tf32"], kept["targets"], kept["gpu"], kept["model"]) == (False, ["8.9", "12.0"], None, "once")
    assert [kept["profile"][which][0] for which in ("min", "opt", "max")] == [1, 2, 4]
    found = find_engine(Bundle(bundle), TENSORRT_RTX, "fp16", kept["package_version"], ADA)
    assert found.place == "built on this device"  # and not the bundle's own
    assert built_here("tensorrt", source) == []
    assert sorted(path.name for path in bundle.iterdir()) == sorted(path.name for path in once_bundle.iterdir())


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ((), 4, "no GPU to build for"),
        (("--runtime", "tensorrt_rtx"), 4, "name GPUs with --targets"),
        (("--precision", "fp8", "--runtime", "tensorrt_rtx", "--targets", "8.9"), 2, "no fp8 in this bundle"),
        (("--batches", "4,2,1"), 2, "impossible batches"),
        (("--batches", "2,4,8"), 2, "must take one image"),
        (("--workspace-mib", "0"), 2, "impossible workspace"),
        (("--targets", "8.7"), 2, "does not honour --targets"),
        (("--runtime", "tensorrt_rtx", "--version-compatible"), 2, "does not honour --version-compatible"),
        (("--runtime", "tensorrt_rtx", "--optimization-level", "0"), 2, "does not honour --optimization-level"),
        (("--runtime", "tensorrt_rtx", "--targets", "8.6,8.6"), 2, "impossible targets"),
    ],
)
def test_what_cannot_be_built(once_bundle: Path, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    run = build(once_bundle, *arguments)
    assert_three_parts(run, exit_code)
    assert said in run.stderr


@pytest.mark.parametrize(
    ("board", "refused"), [("NVIDIA Jetson Orin NX Developer Kit\0", True), ("Raspberry Pi 5\0", False), (None, False)]
)
def test_no_hardware_compatible_engine_on_a_jetson(
    once_bundle: Path, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str | None, refused: bool
) -> None:
    import build as builder

    monkeypatch.setattr(device, "DEVICE_TREE", tmp_path / "model")
    if board is not None:
        (tmp_path / "model").write_text(board)
    asked = builder.switches().parse_args(["--hardware-compatible"])
    if not refused:
        assert builder.plan_of(asked, Bundle(once_bundle))[1].settings.hardware_compatible
        return
    with pytest.raises(pose_runtime.BadInput, match="NVIDIA Jetson Orin"):
        builder.plan_of(asked, Bundle(once_bundle))


def test_a_gpu_that_rtx_does_not_know(once_bundle: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    run = build(once_bundle, "--runtime", "tensorrt_rtx", "--targets", "8.7", "--precision", "fp16")
    assert run.returncode == 1
    assert "compute capability 8.7" in run.stderr


def test_nothing_is_built_from_a_bundle_that_was_changed(once_bundle: Path, tmp_path: Path) -> None:
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "onnx/once-fp16.onnx", flip_last)
    run = build(bundle, "--runtime", "tensorrt_rtx", "--targets", "8.9", "--precision", "fp16")
    assert_three_parts(run, 1)
    assert "once-fp16.onnx was changed" in run.stderr
