"""An export that is interrupted, killed, or run twice at once leaves whole files only, and the next run goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from export.common.files import PARTIAL_PREFIX
from export.pipeline.layout import MANIFEST, WEIGHTS
from tests.support.command_line import ROOT, in_process
from tests.support.tiny_export import assert_whole, manifest, steps_said

WAITING = """
import sys, time
from export.pipeline.steps import Folder

perform = Folder.perform

def perform_and_wait(folder, step, work, kind):
    def work_and_wait(made, progress):
        result = work(made, progress)
        if step.name == "DURING":
            print("  worked     ", step.name, file=sys.stderr, flush=True)
            time.sleep(120)
        return result
    return perform(folder, step, work_and_wait, kind)

Folder.perform = perform_and_wait

from cli.main import run
run()
"""
"""The command; one of its steps makes its files and then waits for a signal."""


def interrupted(place: Path, during: str, when: str, number: int) -> subprocess.CompletedProcess[str]:
    """Run the export and send it a signal as soon as it says that it is in the step ``during``, or has worked there."""
    (place / "waiting.py").write_text(WAITING.replace("DURING", during))
    command = [sys.executable, "-m", "waiting", "export", "tiny.yaml"]
    environment = {"PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}
    run = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert run.stderr is not None
    said = ""
    for line in run.stderr:
        said += line
        if line.split()[:2] == [when, during]:
            run.send_signal(number)
            break
    said += run.stderr.read()
    return subprocess.CompletedProcess(command, run.wait(timeout=120), "", said)


@pytest.mark.parametrize(
    ("during", "when", "number"),
    [
        ("weights", "running", signal.SIGINT),
        ("onnx-fp32", "worked", signal.SIGINT),
        ("engine-fp32", "running", signal.SIGINT),
        ("latency", "running", signal.SIGTERM),
    ],
)
def test_an_interrupt_at_any_step_leaves_no_half_file(
    tiny_copy: Path, during: str, when: str, number: signal.Signals
) -> None:
    """Only the file of that step is missing, so that a run does nothing else."""
    place, folder = tiny_copy, tiny_copy / "build/tiny"
    files = {"weights": WEIGHTS, "onnx-fp32": "onnx/tiny-fp32.onnx", "latency": "latency.json"}
    for name in (MANIFEST, files.get(during, manifest(place).artifacts[-1].path)):
        (folder / name).unlink()
    run = interrupted(place, during, when, number)
    assert run.returncode == 128 + number, run.stderr
    assert "Traceback" not in run.stderr
    assert "interrupted" in run.stderr
    assert not list((place / "build").rglob(PARTIAL_PREFIX + "*"))
    assert (place / "build/tiny/manifest.json").exists() == (during == "latency")  # of which the manifest says nothing
    again = in_process("export", "tiny.yaml", cwd=place)
    assert again.returncode == 0, again.stderr
    assert steps_said(again.stderr, "done") == [during] * (during != "latency")
    assert_whole(place)


def test_a_killed_run_is_taken_up_by_the_next(tiny_copy: Path) -> None:
    (tiny_copy / "build/tiny" / WEIGHTS).unlink()
    run = interrupted(tiny_copy, "weights", "worked", signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert list((tiny_copy / "build").rglob(PARTIAL_PREFIX + "*"))
    again = in_process("export", "tiny.yaml", cwd=tiny_copy)
    assert again.returncode == 0, again.stderr
    assert steps_said(again.stderr, "done") == ["weights"]
    assert_whole(tiny_copy)


WITHOUT_LATENCY = """
from bench.harness import latency_table
from cli.main import run
latency_table.latency_table = lambda export, observer: None
run()
"""


def test_two_runs_at_once_do_not_corrupt_the_folder(tiny_copy: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_LATENCY, "export", "tiny.yaml"]
    place, folder = tiny_copy, tiny_copy / "build/tiny"
    for name in (MANIFEST, WEIGHTS):
        (folder / name).unlink()
    with FileLock(folder / ".lock"):  # until both wait for it
        runs = [
            subprocess.Popen(command, cwd=place, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for run in runs:
            assert run.stderr is not None
            assert any("waiting" in line for line in run.stderr)
    said = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    done = sorted((steps_said(text, "done") for text in said), key=len)
    assert done == [[], ["weights"]]
    assert_whole(place)
