"""Engines on a device: what is loaded and what never is, how they are built there, and how they are run.

There is no GPU here. The driver is a C library on the processor's memory, called as NVIDIA's is; TensorRT is a module
of Python with members that TensorRT has. TensorRT-RTX, which builds without a GPU, is the real one where it is
installed.
"""

import ast
import ctypes
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pose_runtime
import pytest
from pose_runtime import Pose, engine_cache, gpu
from pose_runtime.builder import BuildPlan
from pose_runtime.builder import configure as configure_on_the_device
from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import built_here, engine_content, keep_engine
from pose_runtime.engines import (
    TENSORRT,
    TENSORRT_RTX,
    Product,
    find_engine,
    misfit,
    require_recent,
    tuned_on,
    wrong_header,
)
from pose_runtime.gpu import Driver, Exchange, Gpu, first_gpu
from pose_runtime.runtimes.engine import convolution_types, logger_of
from pose_verify import device
from pose_verify.builds import in_words

from bench.device_report import DeviceReport, read_device_report
from export import tensorrt_api
from export.engine_plan import EnginePlan
from export.engine_worker import configure as configure_here
from export.errors import CheckFailed
from tests.bundles import DEVICE, PROBE_FREE, copied, flip_last, rewrite
from tests.command_line import ROOT, assert_three_parts
from tests.standin import library
from tests.tensorrt_members import read_list

ORIN = Gpu("Orin", "8.7", 8 << 30, 8)
ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, 128)
SPEAKING_TENSORRT = (
    "pose_runtime/builder.py",
    "pose_runtime/runtimes/engine.py",
    "pose_runtime/runtimes/tensorrt_rtx.py",
)
ONLY_RTX = {"create_runtime_config", "set_compute_capability"}


@pytest.fixture(scope="session")
def driver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the driver's stand-in lies, under the name of NVIDIA's."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("driver")
    source, target = ROOT / "tests/standin/driver.c", folder / gpu.DRIVER
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", target, source], check=True)
    return folder


@pytest.fixture
def driver(driver_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(gpu, "DRIVER", str(driver_folder / gpu.DRIVER))
    return Driver()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(engine_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


# ── the driver ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_gpu_by_its_drivers_account(driver: Driver) -> None:
    assert first_gpu(driver) == ORIN


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("STANDIN_NO_GPU", "1", "the driver sees none"), ("STANDIN_REFUSES", "cuInit", "cuInit: error 999")],
)
def test_a_driver_without_a_gpu(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(pose_runtime.NotPossible, match=said):
        first_gpu(driver)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DRIVER", "libnone-at-all.so.1")
    with pytest.raises(pose_runtime.NotPossible, match=r"no NVIDIA driver \(libnone-at-all"):
        first_gpu()


def test_images_go_there_and_joints_come_back(driver: Driver) -> None:
    exchange = Exchange(driver, (4, 3, 8, 8), (4, 2, 3))
    assert exchange.stream_handle == 77
    images = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    exchange.put(images)
    there = (ctypes.c_float * images.size).from_address(exchange.images.value)
    np.testing.assert_array_equal(np.ctypeslib.as_array(there).reshape(images.shape), images)
    assert np.isnan(exchange.take(4)).all()  # what nothing was written to is no result
    joints = np.arange(24, dtype=np.float32)
    np.ctypeslib.as_array((ctypes.c_float * 24).from_address(exchange.joints.value))[:] = joints
    first = exchange.take(3)
    np.testing.assert_array_equal(first, joints.reshape(4, 2, 3)[:3])
    exchange.put(images)
    exchange.take(3)
    np.testing.assert_array_equal(first, joints.reshape(4, 2, 3)[:3])  # a copy
    exchange.close()
    assert driver._library.standin_allocated() == 0


def test_memory_that_is_not_to_be_had(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_REFUSES", "cuMemAlloc_v2")
    with pytest.raises(pose_runtime.CheckFailed, match="cuMemAlloc_v2: error 2"):
        Exchange(driver, (1, 3, 8, 8), (1, 2, 3))


# ── which engine may be loaded ───────────────────────────────────────────────────────────────────────────────────────


def record(**change: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "runtime": "tensorrt",
        "precision": "fp16",
        "onnx_sha256": "a",
        "package_version": "10.3.0.26",
        "targets": [],
        **tuned_on(ORIN),
        "hardware_compatible": False,
        "version_compatible": False,
        "profile": {"min": [1, 3, 8, 8], "opt": [1, 3, 8, 8], "max": [8, 3, 8, 8]},
    }
    return made | change


@pytest.mark.parametrize(
    ("change", "version", "device", "said"),
    [
        ({}, "10.3.0.26", ORIN, ""),
        ({}, "10.3.0.post1", ORIN, ""),
        ({"onnx_sha256": "b"}, "10.3.0.26", ORIN, "built from another ONNX file"),
        ({}, "10.13.3.9", ORIN, "built by TensorRT 10.3.0.26, and 10.13.3.9 is installed"),
        ({"version_compatible": True}, "10.13.3.9", ORIN, ""),
        ({"version_compatible": True}, "10.2.0", ORIN, "built by TensorRT 10.3.0.26, and 10.2.0 is installed"),
        ({}, "10.3.0.26", ADA, "tuned on Orin, and this is NVIDIA GeForce RTX 4090"),
        ({"hardware_compatible": True}, "10.3.0.26", ADA, ""),
        ({"hardware_compatible": True}, "10.3.0.26", Gpu("Tesla T4", "7.5", 1, 40), "tuned on Orin"),
        ({}, "10.3.0.26", ORIN._replace(multiprocessors=16), "8 multiprocessors, 8.0 GiB), and this is Orin (8.7, 16"),
        (
            {},
            "10.3.0.26",
            ORIN._replace(memory_bytes=16 << 30),
            "8.0 GiB), and this is Orin (8.7, 8 multiprocessors, 1",
        ),
        ({}, "10.3.0.26", ORIN._replace(compute_capability="8.8"), "and this is Orin (8.8"),
        ({}, "10.3.0.26", ORIN._replace(memory_bytes=int(7.4 * 2**30)), ""),  # its kernel keeps some for itself
        ({"gpu": None, "targets": ["8.6", "8.9"]}, "10.3.0.26", ADA, ""),
        ({"gpu": None, "targets": ["8.6", "8.9"]}, "10.3.0.26", ORIN, "capability 8.6, 8.9, and this GPU has 8.7"),
    ],
)
def test_engines_of_another_version_or_gpu(change: dict[str, Any], version: str, device: Gpu, said: str) -> None:
    seen = misfit(record(**change), TENSORRT, "a", version, device)
    assert said in seen
    assert bool(said) == bool(seen)


def test_a_record_that_does_not_tell_the_gpu_is_not_believed() -> None:
    """As an earlier build.py wrote it."""
    old = {name: value for name, value in record().items() if name not in Gpu._fields[1:]}
    assert "its record, of an older build.py, does not tell" in misfit(old, TENSORRT, "a", "10.3.0.26", ORIN)


@pytest.mark.parametrize(
    ("product", "version", "too_old"),
    [
        (TENSORRT, "8.5.2.2", True),
        (TENSORRT, "9.3.0", True),
        (TENSORRT, "10.0.1", False),
        (TENSORRT_RTX, "1.7.1.116", False),
    ],
)
def test_a_tensorrt_without_strong_types_is_told_what_to_do(product: Product, version: str, too_old: bool) -> None:
    if not too_old:
        require_recent(product, version)
        return
    with pytest.raises(pose_runtime.NotPossible, match=rf"TensorRT {version} is too old .* onnxruntime"):
        require_recent(product, version)


HEADER = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26])


@pytest.mark.parametrize(
    ("content", "compatible", "said"),
    [
        (HEADER, False, ""),
        (HEADER[:27], False, "no engine of TensorRT"),
        (b"ONNX" + HEADER[4:], False, "it begins with b'ONNX'"),
        (b"vtrt" + HEADER[4:], False, "it begins with b'vtrt'"),
        (HEADER[:24] + bytes([10, 2, 0, 1]), False, "its header says version 10.2.0, and 10.3.0.26 is installed"),
        (HEADER[:24] + bytes([10, 2, 0, 1]), True, ""),
        (HEADER[:24] + bytes([10, 4, 0, 1]), True, "its header says version 10.4.0"),
    ],
)
def test_what_an_engine_begins_with(content: bytes, compatible: bool, said: str) -> None:
    seen = wrong_header(content, TENSORRT, "10.3.0.26", compatible=compatible)
    assert said in seen
    assert bool(said) == bool(seen)


def test_an_engine_that_was_built_here_is_found_and_one_that_was_laid_there_is_not(
    once_bundle: Path, cache: Path
) -> None:
    bundle, version = Bundle(once_bundle), "10.3.0.26"
    source = bundle.onnx("fp16")["sha256"]
    with pytest.raises(pose_runtime.NotPossible) as caught:
        find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    assert "none in the bundle, none was built here" in caught.value.seen
    assert caught.value.do == "build one: python3 build.py --runtime tensorrt --precision fp16"
    cache.mkdir(mode=0o700)
    (cache / f"{'0' * 64}.engine").write_bytes(HEADER)  # without a record
    (cache / "planted.json").write_text(json.dumps(record(schema_version="1.0", onnx_sha256=source, sha256="0" * 64)))
    (cache / "broken.json").write_text("{")
    with pytest.raises(pose_runtime.NotPossible, match="none was built here"):
        find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    path = keep_engine(HEADER, record(onnx_sha256=source))
    found = find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    assert (found.content, found.place) == (HEADER, "built on this device")
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(pose_runtime.NotPossible, match="tuned on Orin"):
        find_engine(bundle, TENSORRT, "fp16", version, ADA)
    path.write_bytes(flip_last(HEADER))
    with pytest.raises(pose_runtime.CheckFailed, match="was changed since it was built"):
        find_engine(bundle, TENSORRT, "fp16", version, ORIN)
    path.unlink()
    with pytest.raises(pose_runtime.CheckFailed, match="cannot be read"):
        engine_content(built_here("tensorrt", source)[0])


def test_a_cache_that_others_may_write_in_is_not_believed(once_bundle: Path, cache: Path) -> None:
    source = Bundle(once_bundle).onnx("fp16")["sha256"]
    keep_engine(HEADER, record(onnx_sha256=source))
    cache.chmod(0o777)
    for use in (lambda: built_here("tensorrt", source), lambda: keep_engine(HEADER, record())):
        with pytest.raises(pose_runtime.CheckFailed, match="others may write in"):
            use()


@pytest.mark.parametrize("ending", ["engine", "json"])
def test_a_file_that_others_may_write_to_is_not_believed(once_bundle: Path, cache: Path, ending: str) -> None:
    """Whoever only shuts the folder again would load what was laid there before."""
    source = Bundle(once_bundle).onnx("fp16")["sha256"]
    path = keep_engine(HEADER, record(onnx_sha256=source)).with_suffix(f".{ending}")
    path.chmod(0o666)
    with pytest.raises(pose_runtime.CheckFailed, match=r"others may write to .*mode 666.*delete all that lies in"):
        find_engine(Bundle(once_bundle), TENSORRT, "fp16", "10.3.0.26", ORIN)


def test_a_file_of_somebody_else_is_not_believed(
    once_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Bundle(once_bundle).onnx("fp16")["sha256"]
    keep_engine(HEADER, record(onnx_sha256=source))
    folder, own = cache.stat(), os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    monkeypatch.setattr(engine_cache, "_require_own", lambda folder: None)
    with pytest.raises(pose_runtime.CheckFailed, match=rf"or have made it — owner {folder.st_uid}, mode 644"):
        built_here("tensorrt", source)


def test_engines_of_the_bundle_are_for_the_gpus_that_it_names(once_bundle: Path, cache: Path, tmp_path: Path) -> None:
    bundle = Bundle(once_bundle)
    if not bundle.engines("tensorrt_rtx", "fp16"):
        pytest.skip("tensorrt_rtx is not installed")
    version = bundle.engines("tensorrt_rtx", "fp16")[0]["package_version"]
    found = find_engine(bundle, TENSORRT_RTX, "fp16", version, ADA)
    assert found.content[:4] == b"vtrt"
    with pytest.raises(pose_runtime.NotPossible, match=r"this GPU has 8\.7.*build\.py --runtime tensorrt_rtx"):
        find_engine(bundle, TENSORRT_RTX, "fp16", version, ORIN)
    changed = copied(once_bundle, tmp_path)
    rewrite(changed / found.place, flip_last)
    with pytest.raises(pose_runtime.CheckFailed, match="was changed"):
        find_engine(Bundle(changed), TENSORRT_RTX, "fp16", version, ADA)


# ── built by the real TensorRT-RTX ───────────────────────────────────────────────────────────────────────────────────


def build(bundle: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(bundle / "build.py"), *arguments]
    settings = PROBE_FREE | {"HOME": str(bundle.parent)} | environment
    run = subprocess.run(command, cwd="/", env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in run.stderr, run.stderr
    return run


def test_a_real_engine_is_built_and_kept(once_bundle: Path, tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    bundle = copied(once_bundle, tmp_path)
    asked = ("--runtime", "tensorrt_rtx", "--targets", "8.9,12.0", "--precision", "int8,fp16", "--batches", "1,2,4")
    run = build(bundle, *asked, **{engine_cache.VARIABLE: str(cache)})
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
        (("--batches", "1,2"), 2, "impossible batches"),
        (("--batches", "2,4,8"), 2, "must take one image"),
        (("--workspace-mib", "0"), 2, "impossible workspace"),
        (("--targets", "8.7"), 2, "does not honour --targets"),
        (("--runtime", "tensorrt_rtx", "--version-compatible"), 2, "does not honour --version-compatible"),
        (("--runtime", "tensorrt_rtx", "--optimization-level", "0"), 2, "does not honour --optimization-level"),
        (("--runtime", "tensorrt_rtx", "--targets", ""), 2, "impossible targets"),
        (("--runtime", "tensorrt_rtx", "--targets", "8.6,8.6"), 2, "impossible targets"),
    ],
)
def test_what_cannot_be_built(once_bundle: Path, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    run = build(once_bundle, *arguments)
    assert_three_parts(run, exit_code)
    assert said in run.stderr


@pytest.mark.parametrize(
    ("board", "refused"),
    [("NVIDIA Jetson Orin NX Developer Kit\0", True), ("Raspberry Pi 5\0", False), (None, False)],
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
        assert builder.plan_of(asked, Bundle(once_bundle))[1].hardware_compatible
        return
    with pytest.raises(pose_runtime.BadInput, match="no hardware compatible engines on JetPack — NVIDIA Jetson Orin"):
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


# ── a whole device, stood in for ─────────────────────────────────────────────────────────────────────────────────────


class Jetson:
    """A Python with the stand-ins for TensorRT and the driver, in which nothing of this repository is to be found."""

    def __init__(self, folder: Path, driver_folder: Path, bundle: Path) -> None:
        self.home, self.driver, self.bundle = folder, driver_folder, bundle
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "python"], check=True)
        packages = folder / "packages"
        packages.mkdir()
        shutil.copyfile(library.__file__, packages / "tensorrt.py")
        site = next((folder / "python/lib").iterdir()) / "site-packages"
        (site / "standin.pth").write_text(f"{packages}\n{sysconfig.get_paths()['purelib']}\n")

    def verify(
        self, *arguments: object, runtime: str | None = "tensorrt", flags: str = "-I", **environment: str
    ) -> tuple[subprocess.CompletedProcess[str], DeviceReport]:
        asked = ("--seconds", "0", "--out", self.home / "report.json", *arguments)
        asked += ("--runtime", runtime) if runtime is not None else ()
        command = [self.home / "python/bin/python", flags, self.bundle / "verify.py", *asked]
        settings = PROBE_FREE | {"HOME": str(self.home), "LD_LIBRARY_PATH": str(self.driver)} | environment
        run = subprocess.run(
            [*map(str, command)], cwd="/", env=settings, capture_output=True, text=True, timeout=120, check=False
        )
        assert "Traceback" not in run.stderr, run.stderr
        return run, read_device_report(self.home / "report.json")


@pytest.fixture(scope="module")
def jetson(
    tmp_path_factory: pytest.TempPathFactory, driver_folder: Path, once_bundle: Path
) -> tuple[Jetson, subprocess.CompletedProcess[str], DeviceReport]:
    """After the first verification, which has built engines."""
    folder = tmp_path_factory.mktemp("jetson")
    made = Jetson(folder, driver_folder, copied(once_bundle, folder))
    run, report = made.verify("--seconds", 1)
    return made, run, report


First = tuple[Jetson, subprocess.CompletedProcess[str], DeviceReport]


def test_the_verifier_builds_engines_and_proves_them(jetson: First) -> None:
    made, run, report = jetson
    assert run.returncode == 1, run.stdout + run.stderr  # BF16 was tried, and was not achieved
    assert report.device.gpu is not None
    assert report.device.gpu.model_dump() == ORIN._asdict()
    assert "building onnx/once-fp16.onnx with TensorRT 10.3.0.26" in run.stderr
    rows = {row.precision: row for row in report.results if row.asked}
    for precision in ("fp32", "fp16", "int8"):
        row = rows[precision]
        assert (row.status, row.artifact, row.computes_in) == ("pass", "built on this device", "Half")
        assert row.latency is not None
        assert row.artifact_sha256 is not None
        assert (made.home / f".cache/pose_runtime/{row.artifact_sha256}.engine").is_file()
    assert rows["bf16"].status == "fail"  # the stand-in has no such kernel
    assert "no engine could be built: TensorRT 10.3.0.26 built no sound engine — planted: no" in rows["bf16"].reason
    assert rows["bf16"].reason in run.stdout
    assert rows["bf16"].build_log is not None
    assert "seen:  planted: no BF16 kernel" in rows["bf16"].build_log
    assert "seen:  planted: no BF16 kernel" in run.stderr
    assert rows["fp16"].build_log is None


def test_a_second_verification_builds_nothing_that_is_there(jetson: First) -> None:
    run, report = jetson[0].verify("--precision", "fp16")
    assert run.returncode == 0, run.stderr
    assert "building" not in run.stderr
    assert report.results[0].artifact_sha256 == jetson[2].results[1].artifact_sha256


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"STANDIN_GPU": "Thor"}, "tuned on Orin, and this is Thor"),
        ({"STANDIN_MULTIPROCESSORS": "16"}, "build one: python3 build.py --runtime tensorrt --precision fp16"),
        ({"STANDIN_MEMORY": str(32 << 30)}, "8.0 GiB), and this is Orin (8.7, 8 multiprocessors, 32.0 GiB)"),
        ({"STANDIN_VERSION": "8.5.2.2"}, "TensorRT 8.5.2.2 is too old for this bundle"),
        ({"STANDIN_VERSION": "10.13.3.9"}, "built by TensorRT 10.3.0.26, and 10.13.3.9 is installed"),
        ({"STANDIN_LOADS_NOTHING": "1"}, ".engine — planted refusal"),
        ({"STANDIN_HAS_NO_ROOM": "1"}, "no room to run"),
        ({"STANDIN_NO_GPU": "1"}, "the driver sees none"),
    ],
)
def test_what_keeps_an_engine_from_running_is_said(jetson: First, environment: dict[str, str], said: str) -> None:
    run, report = jetson[0].verify("--precision", "fp16", "--no-build", **environment)
    assert run.returncode == 4, run.stdout
    assert report.results[0].status == "not run"
    assert said in report.results[0].reason


def test_an_engine_that_computes_nothing_fails(jetson: First) -> None:
    """What it left behind is NaN, and not the joints of an earlier run."""
    run, report = jetson[0].verify("--precision", "fp16", STANDIN_LAUNCHES_NOTHING="1")
    assert run.returncode == 1
    assert report.results[0].parity is not None
    assert (report.results[0].status, report.results[0].parity.mean_mm) == ("fail", None)


def test_a_runtime_that_breaks_is_a_row_that_failed(jetson: First) -> None:
    run, report = jetson[0].verify("--precision", "fp16", runtime="tensorrt,onnxruntime", STANDIN_BREAKS="1")
    assert run.returncode == 1
    assert [row.status for row in report.results if row.asked] == ["fail", "pass"]
    assert report.results[0].reason == "RuntimeError: planted"


def test_a_runtime_that_breaks_while_it_is_timed_keeps_what_was_found(jetson: First) -> None:
    asked = ("--precision", "fp16", "--seconds", "1")
    run, report = jetson[0].verify(*asked, runtime="tensorrt,onnxruntime", STANDIN_LAUNCHES="12")
    assert (run.returncode, report.outcome) == (1, "fail")
    broken, whole = (row for row in report.results if row.asked)
    assert (broken.status, broken.latency) == ("fail", None)
    assert broken.parity is not None
    assert broken.parity.outcome == "pass"
    assert broken.reason.startswith("it broke while latency was measured: ")
    assert f"{broken.artifact_sha256}.engine does not take the launch" in broken.reason
    assert whole.status == "pass"
    assert whole.latency is not None
    assert report.overhead is not None


@pytest.mark.parametrize("runtime", ["tensorrt", None])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STANDIN_KEEPS_TF32", "1", "the builder did not take TF32 off"),
        ("STANDIN_REFUSES_MODEL", "1", "TensorRT 10.3.0.26 cannot read the model — planted refusal"),
        ("STANDIN_BUILDER_DIES", "11", "build.py was ended by signal 11 — planted: last words"),
        ("STANDIN_BUILDER_DIES", "9", "takes too much memory"),
    ],
)
def test_a_build_that_was_tried_and_failed_is_a_failure(
    jetson: First, variable: str, value: str, said: str, runtime: str | None
) -> None:
    """Also where nobody named TensorRT and everything else has passed; the reason outlives the terminal."""
    environment = {variable: value, "STANDIN_GPU": "another", "LC_ALL": "C.UTF-8"}
    run, report = jetson[0].verify("--precision", "fp16", runtime=runtime, **environment)
    assert (run.returncode, report.outcome) == (1, "fail")
    row = report.results[0]
    assert (row.runtime, row.status) == ("tensorrt", "fail")
    assert said in row.reason
    assert row.reason in run.stdout
    assert row.build_log is not None
    assert 0 < len(row.build_log) <= 20
    assert all(line in run.stderr for line in row.build_log)
    assert "pass" in {r.status for r in report.results} or runtime is not None


def test_a_long_error_of_a_builder_is_not_cut() -> None:
    told = ["building", "error: the builder refuses", "seen:  first", *map(str, range(30)), "do:    mend it"]
    assert in_words(1, told).startswith("the builder refuses — first — 0 — 1")
    assert in_words(1, told).endswith("29 — mend it")
    assert in_words(1, ["before", "last words", ""]) == "build.py ended with exit code 1 — last words"


def test_a_tensorrt_that_is_too_old_is_no_failure_and_is_told(jetson: First) -> None:
    """JetPack 5 has 8.5: the processor's runtimes pass, and TensorRT's row says why it is left out."""
    run, report = jetson[0].verify("--precision", "fp16", runtime=None, STANDIN_VERSION="8.5.2.2")
    assert (run.returncode, report.outcome) == (0, "pass")
    assert report.results[0].status == "not run"
    assert "is too old for this bundle" in report.results[0].reason
    assert report.results[0].reason in run.stdout
    assert "building" not in run.stderr


def test_a_builder_finds_what_the_verifier_finds(jetson: First, tmp_path: Path) -> None:
    """Packages that a user has installed for himself are not there for a Python that was told to be isolated."""
    made = jetson[0]
    site = next((made.home / "python/lib").iterdir()) / "site-packages/standin.pth"
    paths = site.read_text()
    site.unlink()
    try:
        environment = {"PYTHONPATH": ":".join(paths.split()), engine_cache.VARIABLE: str(tmp_path / "cache")}
        run, report = made.verify("--precision", "fp16", flags="-B", **environment)
    finally:
        site.write_text(paths)
    assert run.returncode == 0, run.stderr
    assert report.results[0].artifact == "built on this device"


def test_an_engine_that_was_changed_after_it_was_built_is_refused(jetson: First) -> None:
    digest = jetson[2].results[0].artifact_sha256
    path = jetson[0].home / f".cache/pose_runtime/{digest}.engine"
    content = path.read_bytes()
    path.write_bytes(flip_last(content))
    try:
        run, report = jetson[0].verify("--precision", "fp32", "--no-build")
        assert run.returncode == 1
        assert "was changed since it was built" in report.results[0].reason
    finally:
        path.write_bytes(content)


# ── the runtimes, in this process ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def loaded(
    request: pytest.FixtureRequest, once_bundle: Path, driver: Driver, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pose]:
    """A pose network in a runtime of engines, whose engine holds batches of up to eight."""
    bundle = Bundle(once_bundle)
    product = TENSORRT if request.param == "tensorrt" else TENSORRT_RTX
    version = "1.7.1.116" if product == TENSORRT_RTX else "10.3.0.26"
    monkeypatch.setattr(library, "RTX", product == TENSORRT_RTX)
    monkeypatch.setattr(library, "__version__", version)
    monkeypatch.setattr(library, "MODEL_OF_ENGINES_THAT_HOLD_NONE", [bundle.content("onnx/once-fp32.onnx")])
    monkeypatch.setitem(sys.modules, product.module, library)
    monkeypatch.setattr("pose_runtime.runtimes.installed", lambda name: True)
    keep_engine(*planted_engine(product, version, bundle.onnx("fp32")["sha256"]))
    logger_of.cache_clear()
    pose = Pose.load(once_bundle, request.param, "fp32")
    yield pose
    pose.close()
    assert driver._library.standin_allocated() == 0


def planted_engine(product: Product, version: str, source: str) -> tuple[bytes, dict[str, Any]]:
    header = product.magic + bytes(20) + bytes(map(int, version.split(".")))
    profile = {which: [batch, 3, 256, 256] for which, batch in (("min", 1), ("opt", 1), ("max", 8))}
    about = {"runtime": product.module, "precision": "fp32", "onnx_sha256": source, "package_version": version}
    return header, record(**about, profile=profile)


def test_engines_see_what_onnx_runtime_sees(loaded: Pose, once_bundle: Path) -> None:
    expected = Pose.load(once_bundle, "onnxruntime", "fp32", threads=1)
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for count in (1, 8, 3, 11):  # the last in two parts
        persons = [(10.0 * index, 5.0, 200.0, 250.0) for index in range(count)]
        for seen, wanted in zip(loaded(image, persons), expected(image, persons), strict=True):
            np.testing.assert_allclose(seen, wanted, atol=0.05)
    assert "Orin (8.7, 8 multiprocessors, 8.0 GiB)" in loaded.network.describe()
    assert loaded.network.largest_batch == 8


def test_a_batch_outside_of_the_profile(loaded: Pose) -> None:
    with pytest.raises(pose_runtime.BadInput, match=r"a batch of 9.*1 to 8.*build\.py --runtime"):
        loaded.network.run(np.zeros((9, 3, 256, 256), np.float32))


def test_a_launch_that_fails(loaded: Pose) -> None:
    loaded.network._context.execute_async_v3 = lambda stream: False  # type: ignore[attr-defined]
    with pytest.raises(pose_runtime.CheckFailed, match="does not take the launch"):
        loaded.network.run(np.zeros((1, 3, 256, 256), np.float32))


@pytest.mark.parametrize(
    ("told", "types"),
    [
        ('{"Layers": [{"LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": "Half"}]}]}', "Half"),
        (
            '{"Layers": [{"LayerType": "conv", "Outputs": [{"DataType": "Float"}, {"DataType": "Half"}]}]}',
            "Float and Half",
        ),
        ('{"Layers": ["conv1", "conv2"]}', ""),
        ("", ""),
        ("[]", ""),
    ],
)
def test_what_an_inspector_says_of_convolutions(told: str, types: str) -> None:
    assert convolution_types(told) == types


# ── one configuration ────────────────────────────────────────────────────────────────────────────────────────────────


class Recorder:
    """A builder of the real library whose configuration notes what is done to it."""

    def __init__(self, trt: Any) -> None:
        self.config, self.log = trt.Builder(logger_of(trt)[0]).create_builder_config(), []  # type: Any, list[str]

    def create_builder_config(self) -> Any:
        config, log = self.config, self.log

        class Noted:
            def __getattr__(self, name: str) -> Any:
                value = getattr(config, name)
                if not callable(value):
                    return value

                def call(*given: Any) -> Any:
                    log.append(f"{name}{given}")
                    return value(*given)

                return call

            def __setattr__(self, name: str, value: Any) -> None:
                log.append(f"{name} = {value}")
                setattr(config, name, value)

        return Noted()


@pytest.mark.parametrize(
    "asked",
    [
        {"targets": ("8.6", "12.0")},
        {"workspace_bytes": 1 << 24, "optimization_level": 5, "version_compatible": True},
        {"hardware_compatible": True},  # which TensorRT-RTX does not keep, and both notice
    ],
)
def test_both_builders_configure_the_same(asked: dict[str, Any]) -> None:
    """The device's builder may not import the export's, so that there are two; the real library is asked by both."""
    trt = pytest.importorskip("tensorrt_rtx")
    usual: dict[str, Any] = {"workspace_bytes": 1 << 30, "optimization_level": 3}
    here, there = Recorder(trt), Recorder(trt)
    logger_of(trt)
    plans = EnginePlan(**usual | asked), BuildPlan((1, 1, 8), **usual | asked)
    for configure, recorder, plan in zip((configure_here, configure_on_the_device), (here, there), plans, strict=True):
        try:
            configure(trt, recorder, plan)  # type: ignore[operator]
        except (CheckFailed, pose_runtime.CheckFailed) as refusal:
            recorder.log.append(refusal.what)
    assert here.log == there.log
    assert ("the builder did not take hardware compatibility" in here.log) == ("hardware_compatible" in asked)
    assert len(here.log) >= 5
    assert here.config.flags == there.config.flags
    assert "clear_flag(<BuilderFlag.TF32" in "".join(here.log)


# ── only what TensorRT has ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_stand_in_has_only_members_that_exist() -> None:
    for version, classes in read_list().items():
        for name in classes.keys() & vars(library).keys():
            stand_in = getattr(library, name)
            if not isinstance(stand_in, type) or stand_in is library.Enumerator:
                continue
            only_rtx = set() if version.startswith("RTX") else ONLY_RTX
            methods = {m for m, value in vars(stand_in).items() if callable(value) and not m.startswith("_")}
            assert methods - only_rtx <= classes[name].keys(), (version, name)


def called(tree: ast.AST) -> set[str]:
    """The names behind a dot."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and not node.attr.startswith("_")}


def test_the_device_calls_only_what_is_declared_of_tensorrt() -> None:
    """Every name behind a dot is declared in ``export.tensorrt_api``, which a test holds to the real bindings, or is
    one of the bundle's own or of Python's, and stands in this list."""
    classes = [value for value in vars(tensorrt_api).values() if isinstance(value, type)]
    declared = {member for cls in classes for member in (*vars(cls), *getattr(cls, "__annotations__", {}))}
    own = {
        *(
            "what",
            "seen",
            "do",
            "name",
            "desc",
            "get",
            "items",
            "update",
            "append",
            "join",
            "split",
            "replace",
            "lower",
        ),
        *("lru_cache", "import_module", "loads", "monotonic", "sha256", "hexdigest", "system", "machine", "value"),
        *(
            "product",
            "module",
            "record",
            "content",
            "place",
            "file",
            "precision",
            "runtime",
            "artifact",
            "artifact_sha256",
        ),
        *("images", "joints", "put", "take", "close", "stream_handle", "largest_batch", "shape", "compute_capability"),
        *("batches", "workspace_bytes", "optimization_level", "hardware_compatible", "version_compatible", "targets"),
        *("float32", "ndarray"),
    }
    for path in SPEAKING_TENSORRT:
        strange = called(ast.parse((DEVICE / path).read_text())) - declared - own
        assert not strange, (path, strange)
    assert "platform_has_fast_fp16" in called(ast.parse("builder.platform_has_fast_fp16")) - declared - own
