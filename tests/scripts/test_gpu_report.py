"""``make gpu-report``: the steps, planted failures, and the whole chain with stand-ins for driver and TensorRT."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.sessions.exported import GPU_RUNTIMES
from export.common.interface import PRECISIONS
from export.common.records import read_record
from export.runtime.gpu import Gpu
from scripts import gpu_report
from scripts.gpu_report import REPORT, GpuReport, main, packed
from tests.support import fake_tensorrt
from tests.support.command_line import ROOT
from tests.support.engines import ADA, without_gpu
from tests.support.planted_bench import Planted
from tests.support.report_folder import write_folder

T4 = Gpu("Tesla T4", "7.5", 15 << 30, 40)
COMMAND = """
import json, os, signal, sys
with open("calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
planted = json.loads(os.environ["PLANTED"]).get(sys.argv[1], "")
if planted == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if planted == "interrupt":
    os.kill(os.getppid(), signal.SIGINT)
    signal.pause()
if planted:
    print("a log line\\nerror: " + planted, file=sys.stderr)
    sys.exit(1)
if sys.argv[1] == "doctor":
    print(json.dumps({"capabilities": [], "host": os.environ["HOST"]}))
if sys.argv[1] == "bench":
    print(open("build/S/bench/result.json").read())
if sys.argv[1] == "engine":
    out = sys.argv[sys.argv.index("--out") + 1]
    open(out + ".json", "w").write(json.dumps({"status": "built"}))
"""
"""A command that writes down its arguments; ``PLANTED`` has the failures of its subcommands."""
SHORT = """
from dataclasses import replace
from bench.harness import benchmark, latency_table
from cli import main
from tests.support.bench_quick import QUICK
benchmark.QUICK_MODE = replace(benchmark.QUICK_MODE, settings=QUICK)
latency_table.latency_table = lambda export, observer: None
if __name__ == "__main__":
    main.run()
"""
"""The real commands, with the shortest benchmark and without the latency table of an export."""
TRTEXEC = """#!/bin/sh
for word in "$@"; do
    case $word in
    --loadEngine=*) [ -f "${word#*=}" ] || exit 9 ;;
    --exportTimes=*) echo '[{"computeMs": 4.0}, {"computeMs": 5.0}, {"computeMs": 9.0}]' > "${word#*=}" ;;
    esac
done
"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, GpuReport]]:
    """Run it on a machine with this GPU, an export of S in four precisions, and planted commands."""
    planted = [Planted(runtime, precision, 2.0) for runtime in GPU_RUNTIMES for precision in PRECISIONS]
    folder = write_folder(tmp_path / "build/S", planted)
    (folder / "engines").mkdir()
    (tmp_path / "command.py").write_text(COMMAND)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpu_report, "COMMAND", (sys.executable, "-S", "command.py"))
    monkeypatch.setattr(gpu_report, "TRTEXEC_FOLDER", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOST", socket.gethostname())

    def run(*arguments: str, gpu: Gpu | None = ADA, **failures: str) -> tuple[int, GpuReport]:
        monkeypatch.setattr(gpu_report, "default_gpu", lambda: (gpu, "planted: no driver"))
        monkeypatch.setattr(gpu_report, "find_spec", lambda name: object())
        monkeypatch.setenv("PLANTED", json.dumps(failures))
        monkeypatch.setattr(sys, "argv", ["gpu_report", "S", *arguments])
        exit_code = main()
        return exit_code, read_record(folder / REPORT, GpuReport, ("1.0",), "GPU report", "")

    return run


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def statuses(report: GpuReport) -> dict[str, str]:
    return {step.name: step.status for step in report.steps}


def test_one_small_file_has_every_step(report: Callable[..., tuple[int, GpuReport]], tmp_path: Path) -> None:
    exit_code, written = report("--publish", "--checkpoint", "my.pth")
    assert exit_code == 0
    engines = {f"engine tensorrt-rtx {precision}": "passed" for precision in PRECISIONS}
    passed = {"doctor": "passed", "export": "passed", **engines, "bench": "passed"}
    assert statuses(written) == passed | {"trtexec": "skipped"}
    assert (tmp_path / "build/S" / REPORT).stat().st_size < 200_000
    results: dict[str, Any] = {step.name: step.result for step in written.steps}
    assert len(results["bench"]["rows"]) == len(GPU_RUNTIMES) * len(PRECISIONS) + 1
    assert {artifact["precision"] for artifact in results["export"]["artifacts"]} == set(PRECISIONS)
    assert written.environment["software"]["libraries"]["torch"]
    doctor, export, engine, *_, bench = calls(tmp_path)
    assert doctor[:2] == ["doctor", "--json"]
    assert {"--checkpoint=my.pth", "--engine-runtime", "tensorrt"} < set(export)
    assert engine[-4:] == ["--engine-runtime", "tensorrt-rtx", "--targets", "8.9"]
    assert bench[-3:] == ["--runtime", ",".join(GPU_RUNTIMES), "--publish"]


@pytest.mark.parametrize(
    ("failing", "planted", "reason"),
    [
        ("doctor", "no such option", "exit code 1: error: no such option"),
        ("export", "parity exceeds its budget", "exit code 1: error: parity exceeds its budget"),
        ("bench", "crash", "exit code -11: "),
        ("engine", "crash", "exit code -11: "),
    ],
)
def test_a_failing_step_loses_no_other(
    report: Callable[..., tuple[int, GpuReport]], failing: str, planted: str, reason: str
) -> None:
    exit_code, written = report(**{failing: planted})
    assert exit_code == 1
    for step in written.steps:
        fails = step.name.split()[0] == failing
        assert (step.status == "failed") == fails, step
        assert step.reason.startswith(reason) or not fails
    assert len(written.steps) == 8


def test_a_result_that_is_no_json_fails_its_step(report: Callable[..., tuple[int, GpuReport]], tmp_path: Path) -> None:
    (tmp_path / "build/S/bench/result.json").write_text("nothing")
    exit_code, written = report()
    assert (exit_code, statuses(written)["bench"]) == (1, "failed")


def test_a_command_that_hangs_fails_its_step(
    report: Callable[..., tuple[int, GpuReport]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "command.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(gpu_report, "STEP_S", 0.1)
    exit_code, written = report()
    assert exit_code == 1
    assert "timed out" in written.steps[0].reason


def test_an_interrupt_keeps_the_finished_steps(
    report: Callable[..., tuple[int, GpuReport]], capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, written = report(export="interrupt")
    assert (exit_code, statuses(written)) == (130, {"doctor": "passed"})
    assert "interrupted; the finished steps are in the report" in capsys.readouterr().err


def test_a_t4_gets_no_engines_that_turing_lacks(report: Callable[..., tuple[int, GpuReport]], tmp_path: Path) -> None:
    exit_code, written = report(gpu=T4)
    engines = {name.split()[-1]: status for name, status in statuses(written).items() if name.startswith("engine")}
    assert engines == {"fp32": "passed", "fp16": "passed", "bf16": "skipped", "int8": "skipped"}
    assert next(step.reason for step in written.steps if step.name.endswith("bf16")) == "Turing has no BF16"
    assert exit_code == 0
    assert all(call[-1] == "7.5" for call in calls(tmp_path) if call[0] == "engine")


def test_without_a_gpu_it_ends_at_once(
    report: Callable[..., tuple[int, GpuReport]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match="there is no GPU report"):
        report(gpu=None)
    assert "planted: no driver" in capsys.readouterr().err
    assert main() == 4
    assert not (tmp_path / "calls").exists()


def test_the_steps_can_be_tried_without_a_gpu(report: Callable[..., tuple[int, GpuReport]], tmp_path: Path) -> None:
    exit_code, written = report("--without-gpu", gpu=None)
    assert (exit_code, list(statuses(written))) == (0, ["doctor", "export", "bench", "trtexec"])
    assert not any(option in call for call in calls(tmp_path) for option in ("--runtime", "--engine-runtime"))


@without_gpu
def test_the_command_itself_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.gpu_report", "S", "--out", str(tmp_path / "build")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 4
    for text in ("error: there is no GPU to report on", "found: there is no NVIDIA driver", "try: "):
        assert text in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_tells_whose_machine_it_is(
    report: Callable[..., tuple[int, GpuReport]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/people/Jo Doe"))
    monkeypatch.setenv("CUDA_HOME", "/opt/jo/cuda-13")
    text = f"cannot read /people/Jo Doe/a/b.onnx, '/srv/jo/x.so', {ROOT}/export/a.py: 12 images/s, https://x.org/a/b"
    exit_code, written = report(export=text)
    assert exit_code == 1
    content = (tmp_path / "build/S" / REPORT).read_text()
    for private in ("Jo", "/jo", str(ROOT), socket.gethostname(), str(tmp_path)):
        assert private not in content
    assert "cannot read ~/a/b.onnx, '…/x.so', ./export/a.py: 12 images/s, https://x.org/a/b" in content
    assert written.environment["software"]["variables"]["CUDA_HOME"] == "…/cuda-13"
    assert packed(written) == content


def test_the_stand_ins_pass_every_step(tiny_copy: Path, driver_folder: Path, tmp_path: Path) -> None:
    """The whole chain, with real commands: driver, TensorRT and trtexec are stand-ins."""
    (tiny_copy / "short.py").write_text(SHORT)
    (tmp_path / "packages").mkdir()
    shutil.copyfile(fake_tensorrt.__file__, tmp_path / "packages/tensorrt.py")
    program = tmp_path / "trtexec"
    program.write_text(TRTEXEC)
    program.chmod(0o755)
    arguments = ["tiny.yaml", "--precision", "fp32", "--no-cuda-graph", "--threads", "1", "--budget", "1"]
    code = f"import sys; from scripts import gpu_report; gpu_report.COMMAND = (sys.executable, 'short.py'); \
sys.argv[1:] = {arguments}; sys.exit(gpu_report.main())"
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": f"{ROOT}:{tmp_path / 'packages'}",
        "LD_LIBRARY_PATH": str(driver_folder),
        "OMP_NUM_THREADS": "1",
        "FAKE_INSPECTED": "",
    }
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tiny_copy, env=environment, capture_output=True, text=True, check=False
    )
    written = read_record(tiny_copy / "build/tiny" / REPORT, GpuReport, ("1.0",), "GPU report", "")
    assert run.returncode == 0, (run.stdout, run.stderr)
    steps = {step.name: step for step in written.steps}
    skipped = [name for name, status in statuses(written).items() if status == "skipped"]
    assert (list(steps), skipped) == (
        ["doctor", "export", "engine tensorrt-rtx", "bench", "trtexec fp32"],
        ["engine tensorrt-rtx"],
    )
    (engine,) = (artifact for artifact in steps["export"].result["artifacts"] if artifact["kind"] == "engine")
    assert engine["runtime"] == "tensorrt"
    row = next(row for row in steps["bench"].result["rows"] if row["runtime"] == "tensorrt")
    assert (row["parity"]["outcome"], row["latency"]["device"]["p50_ms"]) == ("pass", 2.5)
    assert steps["trtexec fp32"].result == {
        "launches": 3,
        "trtexec_p50_ms": 5.0,
        "bench_p50_ms": 2.5,
        "ratio": 0.5,
    }
    doctor = {row["name"]: row["available"] for row in steps["doctor"].result["capabilities"]}
    assert (doctor["run-tensorrt"], doctor["run-pytorch-cuda"]) == ("unknown", "no")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("LD_PRELOAD=/opt/secret/a.so:/srv/secret/b.so", "LD_PRELOAD=…/a.so:…/b.so"),
        ("found:/data/secret/y.onnx", "found:…/y.onnx"),
        ("file:///mnt/secret/q", "file://…/q"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
    ],
)
def test_absolute_paths_lose_their_folders(text: str, clean: str) -> None:
    report = GpuReport(created="", model="XS", environment={text: text}, steps=[])
    assert json.loads(packed(report))["environment"] == {clean: clean}
