"""Verification on a fake Jetson, which builds engines, runs and judges them.

There is no GPU here: the driver is a C library on the processor's memory with the interface of NVIDIA's. TensorRT is a
Python module with members of the real one.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from pose_runtime import engine_cache

from bench.results.device_report import DeviceReport, Row, read_device_report
from tests.export.bundle.engines import ORIN
from tests.support import fake_tensorrt
from tests.support.bundles import PROBE_FREE, copied

Run = tuple[subprocess.CompletedProcess[str], DeviceReport]


class Jetson:
    """A Python with the fake TensorRT and driver, without access to this repository; its first verification is done."""

    def __init__(self, folder: Path, driver_folder: Path, bundle: Path) -> None:
        self.home, self.driver, self.bundle = folder, driver_folder, bundle
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "python"], check=True)
        packages = folder / "packages"
        packages.mkdir()
        shutil.copyfile(fake_tensorrt.__file__, packages / "tensorrt.py")
        self.paths = [str(packages), sysconfig.get_paths()["purelib"]]
        self.path_file = next((folder / "python/lib").iterdir()) / "site-packages/fake.pth"
        self.path_file.write_text("\n".join(self.paths))
        self.run, self.report = self.verify("--seconds", 1)

    def verify(
        self, *arguments: object, runtime: str | None = "tensorrt", flags: str = "-I", **environment: str
    ) -> Run:
        options = ("--seconds", "0", "--out", self.home / "report.json", *arguments)
        options += ("--runtime", runtime) if runtime is not None else ()
        command = [self.home / "python/bin/python", flags, self.bundle / "verify.py", *options]
        settings = PROBE_FREE | {"HOME": str(self.home), "LD_LIBRARY_PATH": str(self.driver)} | environment
        run = subprocess.run(
            [*map(str, command)], cwd="/", env=settings, capture_output=True, text=True, timeout=120, check=False
        )
        assert "Traceback" not in run.stderr, run.stderr
        return run, read_device_report(self.home / "report.json")

    def engine(self, row: Row) -> Path:
        return self.home / f".cache/pose_runtime/{row.artifact_sha256}.engine"


@pytest.fixture(scope="module")
def jetson(tmp_path_factory: pytest.TempPathFactory, driver_folder: Path, once_bundle: Path) -> Jetson:
    folder = tmp_path_factory.mktemp("jetson")
    return Jetson(folder, driver_folder, copied(once_bundle, folder))


def test_the_verifier_builds_and_proves_engines(jetson: Jetson) -> None:
    run, report = jetson.run, jetson.report
    assert run.returncode == 1, run.stdout + run.stderr  # the build of BF16 failed
    assert report.device.gpu is not None
    assert report.device.gpu.model_dump() == asdict(ORIN)
    assert "building onnx/once-fp16.onnx with TensorRT 10.3.0.26" in run.stderr
    rows = {row.precision: row for row in report.results if row.asked}
    for precision in ("fp32", "fp16", "int8"):
        row = rows[precision]
        assert (row.status, row.artifact, row.computes_in) == ("pass", "built on this device", "Half")
        assert row.latency is not None
        assert jetson.engine(row).is_file()
    assert rows["fp16"].build_log is None
    bf16 = rows["bf16"]
    assert bf16.status == "fail"  # the fake has no such kernel
    assert "no engine could be built: TensorRT 10.3.0.26 built no sound engine from the model — planted" in bf16.reason
    assert bf16.reason in run.stdout
    assert bf16.build_log is not None
    assert "found: planted: no BF16 kernel" in bf16.build_log
    assert "found: planted: no BF16 kernel" in run.stderr


def test_a_second_verification_builds_nothing_again(jetson: Jetson) -> None:
    run, report = jetson.verify("--precision", "fp16")
    assert run.returncode == 0, run.stderr
    assert "building" not in run.stderr
    assert report.results[0].artifact_sha256 == jetson.report.results[1].artifact_sha256


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"FAKE_GPU": "Thor"}, "this is Thor"),
        ({"FAKE_HAS_NO_ROOM": "1"}, "too little memory to run"),
        ({"FAKE_NO_GPU": "1"}, "the NVIDIA driver sees no GPU"),
    ],
)
def test_an_engine_that_cannot_run_has_a_reason(jetson: Jetson, environment: dict[str, str], reason: str) -> None:
    run, report = jetson.verify("--precision", "fp16", "--no-build", **environment)
    assert run.returncode == 4, run.stdout
    assert report.results[0].status == "not run"
    assert reason in report.results[0].reason


def test_a_runtime_that_raises_is_a_failed_row(jetson: Jetson) -> None:
    run, report = jetson.verify("--precision", "fp16", runtime="tensorrt,onnxruntime", FAKE_BREAKS="1")
    assert run.returncode == 1
    assert [row.status for row in report.results if row.asked] == ["fail", "pass"]
    assert report.results[0].reason == "RuntimeError: planted"


def test_a_runtime_that_raises_while_it_is_timed_keeps_its_parity(jetson: Jetson) -> None:
    arguments = ("--precision", "fp16", "--seconds", "1")
    run, report = jetson.verify(*arguments, runtime="tensorrt,onnxruntime", FAKE_LAUNCHES="12")
    assert (run.returncode, report.outcome) == (1, "fail")
    failed, passed = (row for row in report.results if row.asked)
    assert (failed.status, failed.latency) == ("fail", None)
    assert failed.parity is not None
    assert failed.parity.outcome == "pass"
    assert "while latency was measured" in failed.reason
    assert f"{failed.artifact_sha256}.engine does not take the launch" in failed.reason
    assert passed.status == "pass"
    assert passed.latency is not None
    assert report.overhead is not None


@pytest.mark.parametrize(
    ("variable", "value", "runtime", "reason"),
    [
        ("FAKE_KEEPS_TF32", "1", None, "TF32"),
        ("FAKE_REFUSES_MODEL", "1", "tensorrt", "planted refusal"),
        ("FAKE_BUILDER_DIES", "9", "tensorrt", "too much memory"),
    ],
)
def test_a_failed_build_fails_the_verification(
    jetson: Jetson, variable: str, value: str, runtime: str | None, reason: str
) -> None:
    """Even if nobody named TensorRT and everything else passed."""
    environment = {variable: value, "FAKE_GPU": "another", "LC_ALL": "C.UTF-8"}
    run, report = jetson.verify("--precision", "fp16", runtime=runtime, **environment)
    assert (run.returncode, report.outcome) == (1, "fail")
    row = report.results[0]
    assert (row.runtime, row.status) == ("tensorrt", "fail")
    assert reason in row.reason
    assert row.reason in run.stdout
    assert row.build_log is not None
    assert 0 < len(row.build_log) <= 20
    assert all(line in run.stderr for line in row.build_log)
    assert "pass" in {r.status for r in report.results} or runtime is not None


def test_an_old_tensorrt_is_reported_and_no_failure(jetson: Jetson) -> None:
    """JetPack 5 has 8.5: the processor's runtimes pass, and TensorRT's row gives the reason."""
    run, report = jetson.verify("--precision", "fp16", runtime=None, FAKE_VERSION="8.5.2.2")
    assert (run.returncode, report.outcome) == (0, "pass")
    assert report.results[0].status == "not run"
    assert "is too old for this model" in report.results[0].reason
    assert report.results[0].reason in run.stdout
    assert "building" not in run.stderr


@pytest.fixture
def packages_on_python_path(jetson: Jetson) -> Iterator[str]:
    """Hide a user's packages from an isolated Python, and return their PYTHONPATH."""
    jetson.path_file.unlink()
    yield ":".join(jetson.paths)
    jetson.path_file.write_text("\n".join(jetson.paths))


def test_the_builder_finds_the_packages_of_the_verifier(
    jetson: Jetson, packages_on_python_path: str, tmp_path: Path
) -> None:
    environment = {"PYTHONPATH": packages_on_python_path, engine_cache.VARIABLE: str(tmp_path / "cache")}
    run, report = jetson.verify("--precision", "fp16", flags="-B", **environment)
    assert run.returncode == 0, run.stderr
    assert report.results[0].artifact == "built on this device"
