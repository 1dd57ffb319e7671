"""A whole device, stood in for: its verifier builds engines, runs and proves them.

There is no GPU here: the driver is a C library on the processor's memory, called as NVIDIA's is. TensorRT is a module
of Python with members that TensorRT has.
"""

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import asdict
from pathlib import Path

import pytest
from pose_runtime import engine_cache

from bench.results.device_report import DeviceReport, read_device_report
from tests.export.bundle.engines import ORIN
from tests.support import fake_tensorrt
from tests.support.bundles import PROBE_FREE, copied, flip_last


class Jetson:
    """A Python with the stand-ins for TensorRT and the driver, in which nothing of this repository is to be found."""

    def __init__(self, folder: Path, driver_folder: Path, bundle: Path) -> None:
        self.home, self.driver, self.bundle = folder, driver_folder, bundle
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "python"], check=True)
        packages = folder / "packages"
        packages.mkdir()
        shutil.copyfile(fake_tensorrt.__file__, packages / "tensorrt.py")
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
    assert report.device.gpu.model_dump() == asdict(ORIN)
    assert "building onnx/once-fp16.onnx with TensorRT 10.3.0.26" in run.stderr
    rows = {row.precision: row for row in report.results if row.asked}
    for precision in ("fp32", "fp16", "int8"):
        row = rows[precision]
        assert (row.status, row.artifact, row.computes_in) == ("pass", "built on this device", "Half")
        assert row.latency is not None
        assert row.artifact_sha256 is not None
        assert (made.home / f".cache/pose_runtime/{row.artifact_sha256}.engine").is_file()
    assert rows["bf16"].status == "fail"  # the stand-in has no such kernel
    assert (
        "no engine could be built: TensorRT 10.3.0.26 built no sound engine from the model — planted: no"
        in rows["bf16"].reason
    )
    assert rows["bf16"].reason in run.stdout
    assert rows["bf16"].build_log is not None
    assert "found: planted: no BF16 kernel" in rows["bf16"].build_log
    assert "found: planted: no BF16 kernel" in run.stderr
    assert rows["fp16"].build_log is None


def test_a_second_verification_builds_nothing_that_is_there(jetson: First) -> None:
    run, report = jetson[0].verify("--precision", "fp16")
    assert run.returncode == 0, run.stderr
    assert "building" not in run.stderr
    assert report.results[0].artifact_sha256 == jetson[2].results[1].artifact_sha256


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"STANDIN_GPU": "Thor"}, "this is Thor"),
        ({"STANDIN_LOADS_NOTHING": "1"}, "planted refusal"),
        ({"STANDIN_HAS_NO_ROOM": "1"}, "too little memory to run"),
        ({"STANDIN_NO_GPU": "1"}, "the NVIDIA driver sees no GPU"),
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


@pytest.mark.parametrize(
    ("variable", "value", "runtime", "said"),
    [
        ("STANDIN_KEEPS_TF32", "1", None, "TF32"),
        ("STANDIN_REFUSES_MODEL", "1", "tensorrt", "planted refusal"),
        ("STANDIN_BUILDER_DIES", "11", "tensorrt", "planted: last words"),
        ("STANDIN_BUILDER_DIES", "9", "tensorrt", "too much memory"),
    ],
)
def test_a_build_that_was_tried_and_failed_is_a_failure(
    jetson: First, variable: str, value: str, runtime: str | None, said: str
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


def test_a_tensorrt_that_is_too_old_is_no_failure_and_is_told(jetson: First) -> None:
    """JetPack 5 has 8.5: the processor's runtimes pass, and TensorRT's row says why it is left out."""
    run, report = jetson[0].verify("--precision", "fp16", runtime=None, STANDIN_VERSION="8.5.2.2")
    assert (run.returncode, report.outcome) == (0, "pass")
    assert report.results[0].status == "not run"
    assert "is too old for this model" in report.results[0].reason
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
