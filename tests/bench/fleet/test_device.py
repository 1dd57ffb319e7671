"""Test jobs on a device, without a network: crashes, deadlines, damage, other versions of the code."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.fleet import child, device, job
from bench.fleet.blobs import BlobCache
from bench.fleet.child import COMMAND as REAL
from bench.fleet.child import ChildFailed, run_child
from bench.fleet.client import run_fleet
from bench.fleet.spec import JobSpec, Outcome, code_on_disk, code_version
from bench.harness.accelerators import lock_folder
from export.common.locks import hold_lock
from export.pipeline import steps
from tests.support.command_line import ROOT
from tests.support.fleet_fake_job import times_measured
from tests.support.fleet_plans import ignore, plan_of, spec_of


def outcome_of(spec: JobSpec, sources: BlobCache, run: Path) -> Outcome:
    """Do the job on this machine."""
    (record,) = run_fleet(plan_of(run, [spec], sources), None, ignore).jobs
    assert record.outcome is not None
    return record.outcome


def test_result_belongs_to_the_libraries_that_measured_it(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of("A", sources)
    assert outcome_of(spec, sources, tmp_path / "run").state == "done"
    assert outcome_of(spec, sources, tmp_path / "other").found
    monkeypatch.setattr(device, "fingerprint", lambda record: "another driver")
    assert not outcome_of(spec, sources, tmp_path / "run").found
    assert times_measured(state) == 2


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("crash", "it ended with SIGABRT (something terrible)"),
        ("hang", "it was not done within 1 s, and was killed"),
        ("hang-first", "it did not begin within 0.5 s, and was killed"),
    ],
)
def test_crash_or_hang_is_a_failed_job(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, reason: str
) -> None:
    monkeypatch.setenv("FAKE_JOB", behaviour)
    if behaviour == "hang-first":
        monkeypatch.setattr(child, "WAITING_DEADLINES", 0.5)
    outcome = outcome_of(spec_of("A", sources, deadline_s=1), sources, tmp_path / "run")
    assert (outcome.state, outcome.reason) == ("failed", reason)


@pytest.mark.parametrize("behaviour", ["linger", "abort-late"])
def test_complete_result_is_kept_if_its_process_hangs_or_aborts_afterwards(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setenv("FAKE_JOB", behaviour)
    monkeypatch.setattr(child, "EXIT_S", 0.3)
    outcome = outcome_of(spec_of("A", sources), sources, tmp_path / "run")
    assert (outcome.state, set(outcome.files)) == ("done", {"manifest.json", "bench/result.json"})


def test_failed_job_has_a_reason_without_traceback(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use the real process, with an export that lacks its files."""
    monkeypatch.setattr(child, "COMMAND", REAL)
    outcome = outcome_of(spec_of("A", sources), sources, tmp_path / "run")
    assert outcome.state == "failed"
    assert "onnx/A-fp32.onnx does not match the manifest" in outcome.reason
    assert "Traceback" not in outcome.reason


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(lambda path: path.write_bytes(b"B"), "was changed since"), (lambda path: path.unlink(), "cannot be read")],
)
def test_changed_or_missing_file_of_the_client_fails_its_job(
    state: Path, sources: BlobCache, tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spec = spec_of("A", sources)
    spoil(sources.path(spec.files["model.onnx"]))
    outcome = outcome_of(spec, sources, tmp_path / "run")
    assert (outcome.state, times_measured(state)) == ("failed", 0)
    assert outcome.reason.startswith(f"model.onnx {reason}")


def test_job_ends_with_its_worker(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    """Kill a worker: its real process must not disturb the next job."""
    if sys.platform != "linux":
        pytest.skip("only Linux ends a process with its parent")
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / child.SPEC).write_text(spec_of("A", sources).model_dump_json())
    holder = (
        "import os, subprocess, sys, time\n"
        f"job = subprocess.Popen([sys.executable, '-m', 'bench.fleet.job', {str(state)!r}, {str(folder)!r}, "
        "str(os.getpid())], stdout=subprocess.DEVNULL)\n"
        "print(job.pid, flush=True); time.sleep(600)"
    )
    with hold_lock(lock_folder() / "cpu.lock", lambda: None):  # it waits for us
        with subprocess.Popen([sys.executable, "-c", holder], cwd=ROOT, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            time.sleep(0.5)
            parent.kill()
            parent.wait()
        deadline = time.monotonic() + 20
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


STARTS_A_WORKER = """
import subprocess, sys, time
worker = "import os, subprocess, sys, time; os.setpgid(0, 0); " \
    "print(subprocess.Popen(['sleep', '600']).pid, file=open(sys.argv[1], 'w'), flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", worker, PLACE])
time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="this system has no sessions")
def test_deadline_kills_processes_in_groups_of_their_own(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imitate a benchmark's worker, and a compiler that it has started."""
    started = tmp_path / "started"
    code = STARTS_A_WORKER.replace("PLACE", repr(str(started)))
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", code))
    monkeypatch.setattr(child, "WAITING_DEADLINES", 3)
    (tmp_path / "job").mkdir()
    with pytest.raises(ChildFailed, match="it did not begin within 3 s"):
        run_child(state, tmp_path / "job", spec_of("A", sources, deadline_s=1), lambda text: None)
    pid = int(started.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy this project, for a device of its own."""
    place = tmp_path / "checkout"
    for package in ("bench", "export"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv(device.FOLDER_VARIABLE, str(tmp_path / "device"))
    return place


def update(checkout: Path) -> None:
    """Change the code as `git pull` does."""
    with (checkout / "bench/fleet/job.py").open("a") as file:
        file.write("# another commit\n")


def test_process_with_other_code_refuses_the_job(
    checkout: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use the real process, which runs the code on the disk."""
    update(checkout)
    monkeypatch.setattr(child, "PROJECT", checkout)
    monkeypatch.chdir(tmp_path)
    outcome = outcome_of(spec_of("A", sources), sources, tmp_path / "run")
    assert outcome.state == "failed"
    assert "another version of this project" in outcome.reason


@pytest.mark.parametrize("changed", [False, True])
def test_job_during_which_the_code_changes_fails(
    checkout: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    monkeypatch.setattr(steps, "PROJECT", checkout)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def measure(*_: object) -> list[str]:
        if changed:
            update(checkout)
        return []

    monkeypatch.setattr(job, "measure", measure)
    (tmp_path / child.SPEC).write_text(spec_of("A", sources).model_dump_json())
    channel = io.StringIO()
    code = job.main(tmp_path / "device", tmp_path, channel)
    last = json.loads(channel.getvalue().splitlines()[-1])
    assert code == (2 if changed else 0)
    assert ("engines" in last, "failed" in last) == (not changed, changed)


def test_worker_that_was_not_restarted_after_an_update_has_a_version_of_its_own(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = code_version()
    monkeypatch.setattr(steps, "PROJECT", checkout)
    assert device.device_facts([]).code == loaded
    update(checkout)
    assert device.device_facts([]).code not in (loaded, code_on_disk())
