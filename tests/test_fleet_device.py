"""What a device does with a job, without a network: found, repeated, crashed, late, damaged, of other code."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.accelerators import machine_folder
from bench.fleet import child, device
from bench.fleet.blobs import BlobCache
from bench.fleet.child import COMMAND as REAL
from bench.fleet.child import ChildFailed, carry_out
from bench.fleet.delivery import ATTEMPTS, Told, deliver
from bench.fleet.executor import LocalExecutor, ThisMachine
from bench.fleet.spec import JobResult, JobSpec, Outcome
from bench.locks import held
from tests.command_line import ROOT
from tests.fleet_plans import SHARED, manifest, spec_of
from tests.fleet_stand_in import times_measured


def carried(link: ThisMachine, spec: JobSpec, sources: BlobCache, again: bool = False) -> JobResult:
    return deliver(link, spec, sources, again, lambda text: None)


def test_the_same_specification_is_found_and_not_measured_again(state: Path, sources: BlobCache) -> None:
    spec = spec_of("A", sources)
    first = carried(ThisMachine(), spec, sources)
    second = carried(ThisMachine(), spec, sources)
    assert (first.outcome.state, first.outcome.found, second.outcome.found) == ("done", False, True)
    assert (first.blobs, times_measured(state)) == (second.blobs, 1)
    forced = carried(ThisMachine(), spec, sources, again=True)
    assert not forced.outcome.found
    assert (forced.blobs == first.blobs, times_measured(state)) == (False, 2)
    assert carried(ThisMachine(), spec.model_copy(update={"deadline_s": 5.0}), sources).outcome.found
    other = spec.model_copy(update={"bench": spec.bench.model_copy(update={"seed": 1})})
    assert not carried(ThisMachine(), other, sources).outcome.found


def test_a_result_belongs_to_the_libraries_that_it_was_taken_with(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of("A", sources)
    carried(ThisMachine(), spec, sources)
    monkeypatch.setattr(device, "fingerprint", lambda record: "another driver")
    assert not carried(ThisMachine(), spec, sources).outcome.found
    assert times_measured(state) == 2


def test_files_travel_once(state: Path, sources: BlobCache) -> None:
    sent = [carried(ThisMachine(), spec_of(name, sources), sources).outcome.bytes_sent for name in "AAB"]
    own = len(b"A" + manifest("A"))
    assert sent == [own + len(SHARED), 0, own]


def test_a_crash_is_a_failed_job_with_its_last_words(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "crash")
    outcome = carried(ThisMachine(), spec_of("A", sources), sources).outcome
    assert (outcome.state, outcome.reason) == ("failed", "it ended with SIGABRT (something terrible)")
    monkeypatch.setenv("STAND_IN", "ok")  # a failure is not kept
    assert carried(ThisMachine(), spec_of("A", sources), sources).outcome.state == "done"


def test_a_job_that_hangs_is_ended_at_its_deadline(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    outcome = carried(ThisMachine(), spec_of("A", sources, deadline_s=1), sources).outcome
    assert (outcome.state, outcome.reason) == ("failed", "it was not done within 1 s, and was ended")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("hang-first", "it did not begin within 0.5 s, and was ended"),
        ("wait", "it waited for the accelerator, which was not free within 0.8 s, and was ended"),
    ],
)
def test_a_job_that_never_begins_is_ended_and_says_why(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    monkeypatch.setenv("STAND_IN", how)
    monkeypatch.setattr(child, "START_S", 0.5)
    monkeypatch.setattr(child, "MOST_BEFORE", 0.8)
    heard = list[str]()
    outcome = deliver(ThisMachine(), spec_of("A", sources, deadline_s=1), sources, False, heard.append).outcome
    assert (outcome.state, outcome.reason) == ("failed", said)
    assert ("waiting for the accelerator" in heard) == (how == "wait")


@pytest.mark.parametrize("how", ["linger", "trip"])
def test_a_result_that_is_whole_is_kept_whatever_its_process_does_then(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("STAND_IN", how)
    monkeypatch.setattr(child, "END_S", 0.3)
    result = carried(ThisMachine(), spec_of("A", sources), sources)
    assert (result.outcome.state, result.outcome.reason) == ("done", "")
    assert set(result.outcome.files) == {"manifest.json", "bench/result.json"}
    assert set(result.outcome.files.values()) == set(result.blobs)


def test_a_failing_job_says_what_and_what_to_do(
    state: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real process, with an export that lacks its files."""
    monkeypatch.setattr(child, "COMMAND", REAL)
    outcome = carried(ThisMachine(), spec_of("A", sources), sources).outcome
    assert outcome.state == "failed"
    assert "onnx/A-fp32.onnx is not what the manifest says of it — it is gone" in outcome.reason
    assert "Traceback" not in outcome.reason


@pytest.mark.parametrize(("damaged", "state_then"), [(1, "done"), (ATTEMPTS, "failed")])
def test_what_arrives_damaged_is_sent_again(state: Path, sources: BlobCache, damaged: int, state_then: str) -> None:
    class Noisy(ThisMachine):
        left = damaged

        def store(self, digest: str, content: bytes) -> bool:
            self.left -= 1
            return super().store(digest, content if self.left < 0 else content + b"?")

    outcome = carried(Noisy(), spec_of("A", sources), sources).outcome
    assert outcome.state == state_then
    if state_then == "failed":
        assert f"arrived damaged {ATTEMPTS} times" in outcome.reason
        assert times_measured(state) == 0


@pytest.mark.parametrize(("damaged", "state_then"), [(1, "done"), (ATTEMPTS, "failed")])
def test_what_comes_back_damaged_is_fetched_again(
    state: Path, sources: BlobCache, damaged: int, state_then: str
) -> None:
    class Noisy(ThisMachine):
        left = damaged

        def fetch(self, digest: str) -> bytes:
            self.left -= 1
            return super().fetch(digest) if self.left < 0 else b"?"

    outcome = carried(Noisy(), spec_of("A", sources), sources).outcome
    assert outcome.state == state_then
    assert carried(ThisMachine(), spec_of("A", sources), sources).outcome.found  # nothing is lost


def test_a_file_that_rots_on_the_device_is_sent_again(state: Path, sources: BlobCache) -> None:
    spec = spec_of("A", sources)
    carried(ThisMachine(), spec, sources)
    (state / "blobs" / spec.files["model.onnx"]).write_bytes(b"rotten")
    again = carried(ThisMachine(), spec, sources, again=True).outcome
    assert (again.state, again.bytes_sent) == ("done", 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"B"), "model.onnx was changed here since the run was planned"),
        (lambda path: path.unlink(), "model.onnx can no longer be read here"),
    ],
)
def test_a_file_that_changed_or_went_at_home_is_our_fault(
    state: Path, sources: BlobCache, spoil: Callable[[Path], object], said: str
) -> None:
    spec = spec_of("A", sources)
    spoil(sources.path(spec.files["model.onnx"]))
    result = carried(ThisMachine(), spec, sources)
    assert (result.outcome.state, result.ours, times_measured(state)) == ("failed", True, 0)
    assert said in result.outcome.reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"code": "another"}, "another version of this project"),
        ({"job": "another"}, "of another job"),
        ({"schema_version": "9.0"}, "schema_version 9.0"),
        ({"surprise": 1}, "no outcome"),
        ({"files": {"../../elsewhere": "0"}}, "no outcome"),
        ({"files": {"/etc/passwd": "0"}}, "no outcome"),
    ],
)
def test_a_result_that_is_not_what_was_asked_for_is_refused(
    state: Path, sources: BlobCache, changes: dict[str, object], said: str
) -> None:
    class Other(ThisMachine):
        def run_job(self, spec: JobSpec, again: bool, told: Told) -> str:
            return json.dumps(json.loads(super().run_job(spec, again, told)) | changes)

    result = carried(Other(), spec_of("A", sources), sources)
    assert (result.outcome.state, result.blobs) == ("failed", {})
    assert said in result.outcome.reason


def test_a_device_refuses_a_job_of_other_code(state: Path, sources: BlobCache) -> None:
    outcome = Outcome.model_validate_json(device.run_job(spec_of("A", sources, code="other").model_dump_json(), False))
    assert (outcome.state, times_measured(state)) == ("failed", 0)
    assert "another version" in outcome.reason


def test_the_job_dies_with_whoever_holds_it(state: Path, sources: BlobCache, tmp_path: Path) -> None:
    """The real process: a worker that is killed leaves nothing behind that would disturb the next job."""
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

    with held(machine_folder() / "cpu.lock", lambda: None):  # it waits for us
        with subprocess.Popen([sys.executable, "-c", holder], cwd=ROOT, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            job = int(parent.stdout.readline())
            time.sleep(0.5)
            parent.kill()
            parent.wait()
        deadline = time.monotonic() + 20
        while Path(f"/proc/{job}").exists() and "Z" not in Path(f"/proc/{job}/stat").read_text().split(")")[1][:3]:
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
def test_a_deadline_ends_what_groups_of_their_own_have_started(
    state: Path, sources: BlobCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the workers of a benchmark are, and a compiler that one of them has called."""
    started = tmp_path / "started"
    code = STARTS_A_WORKER.replace("PLACE", repr(str(started)))
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-c", code))
    monkeypatch.setattr(child, "START_S", 5.0)
    (tmp_path / "job").mkdir()
    with pytest.raises(ChildFailed, match="it did not begin within 5 s"):
        carry_out(state, tmp_path / "job", spec_of("A", sources), lambda text: None)
    pid = int(started.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_whoever_listens_hears_what_a_job_does(state: Path, sources: BlobCache) -> None:
    heard = list[str]()
    executor = LocalExecutor([spec_of("A", sources)], sources, lambda spec, worker, text: heard.append(text))
    executor.run(spec_of("A", sources))
    assert heard[0] == ""
    assert {"preparing", "bringing the result back"} <= set(heard)
