"""Engines of a bundle, built by the real TensorRT-RTX, which needs no GPU for it."""

import subprocess
import sys
from pathlib import Path

import pytest
from pose_runtime import engine_cache
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import stored_records
from pose_runtime.engines import find_engine
from pose_runtime.runtime.engine_file import TENSORRT_RTX

from tests.export.bundle.engines import ADA
from tests.support.bundles import PROBE_FREE, copied, flip_last, rewrite, run_here
from tests.support.command_line import assert_three_parts

RTX = ("--runtime", "tensorrt_rtx")


def build(bundle: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(bundle / "build.py"), *arguments]
    settings = PROBE_FREE | {"HOME": str(bundle.parent)} | environment
    run = subprocess.run(command, cwd="/", env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in run.stderr, run.stderr
    return run


def test_a_real_engine_is_built_and_stored(once_bundle: Path, tmp_path: Path, cached: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    bundle = copied(once_bundle, tmp_path)
    options = (*RTX, "--targets", "8.9,12.0", "--precision", "int8,fp16", "--batches", "1,2,4")
    run = build(bundle, *options, **{engine_cache.VARIABLE: str(cached)})
    assert run.returncode == 0, run.stderr
    source = Bundle(bundle).onnx("fp16")["sha256"]
    [record] = stored_records("tensorrt_rtx", source)
    assert (record["tf32"], record["targets"], record["gpu"], record["model"]) == (False, ["8.9", "12.0"], None, "once")
    assert [record["profile"][name][0] for name in ("min", "opt", "max")] == [1, 2, 4]
    stored = find_engine(Bundle(bundle), TENSORRT_RTX, "fp16", record["package_version"], ADA)
    assert stored.record == record
    assert stored_records("tensorrt", source) == []
    assert sorted(path.name for path in bundle.iterdir()) == sorted(path.name for path in once_bundle.iterdir())


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ((), 4, "no GPU to build for"),
        (RTX, 4, "name GPUs with --targets"),
        ((*RTX, "--precision", "fp8", "--targets", "8.9"), 2, "no fp8 in this bundle"),
        (("--batches", "4,2,1"), 2, "impossible batches"),
        (("--batches", "2,4,8"), 2, "must take one image"),
        (("--workspace-mib", "0"), 2, "impossible workspace"),
        (("--targets", "8.7"), 2, "does not honour --targets"),
        ((*RTX, "--targets", "8.6,8.6"), 2, "impossible targets"),
    ],
)
def test_impossible_builds_are_refused(
    once_bundle: Path, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    run = run_here(once_bundle / "build.py", *arguments)
    assert_three_parts(run, exit_code)
    assert message in run.stderr


def test_a_target_unknown_to_rtx_is_refused(once_bundle: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    run = run_here(once_bundle / "build.py", *RTX, "--targets", "8.7", "--precision", "fp16")
    assert run.returncode == 1
    assert "compute capability 8.7" in run.stderr


def test_nothing_is_built_from_a_changed_bundle(once_bundle: Path, tmp_path: Path) -> None:
    bundle = copied(once_bundle, tmp_path)
    rewrite(bundle / "onnx/once-fp32.onnx", flip_last)  # which this build does not read
    run = run_here(bundle / "build.py", *RTX, "--targets", "8.9", "--precision", "fp16")
    assert_three_parts(run, 1)
    assert "once-fp32.onnx was changed" in run.stderr
