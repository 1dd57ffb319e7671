"""What is said of a run and its devices, where that is easily said wrongly."""

from pathlib import Path

import pytest
from filelock import FileLock

from bench import locks
from bench.fleet.blobs import BlobCache
from bench.fleet.ledger import Ledger
from bench.fleet.record import DeviceRecord, FleetRecord, JobRecord, one_machine, read_fleet
from bench.fleet.spec import DeviceFacts, Outcome, code_version, phase
from cli import render_fleet
from tests.fleet_plans import ORIN, nothing, plan_of, spec_of

FACTS = {"resources": {ORIN: 1.0}, "machine": "m", "fingerprint": "f"}
OURS = {
    "environment": {
        "host": {"cpu": "A processor", "usable_cores": 6},
        "gpus": [],
        "software": {"python": "3.11.2"},
    },
    "doctor": {"capabilities": []},
}


def test_a_device_of_another_version_is_shown_whatever_it_tells_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    ours = DeviceFacts.model_validate({**FACTS, **OURS, "worker": "orin-1", "code": code_version()})
    other = DeviceFacts.model_validate({**FACTS, "environment": {}, "doctor": {}, "worker": "orin-2", "code": "c"})
    render_fleet.devices([other, ours])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("orin-2") and "another version" in line for line in lines)
    assert any(line.startswith("orin-1") and "A processor" in line and "the same" in line for line in lines)


@pytest.mark.parametrize(
    ("machines", "said"), [("aa", ["orin and orin-2 are one machine (first, second)"]), ("ab", [])]
)
def test_workers_of_one_machine_are_not_taken_for_several(tmp_path: Path, machines: str, said: list[str]) -> None:
    sources, jobs, devices = BlobCache(tmp_path), [], []
    for replica, (worker, machine) in enumerate(zip(("first", "second"), machines, strict=True), 1):
        spec = spec_of("S", sources, replica=replica)
        outcome = Outcome(job=spec.id, state="done", worker=worker)
        jobs.append(JobRecord(spec=spec, folder=spec.place, state="done", outcome=outcome, worker=worker))
        about = {"kinds": ["orin"], "state": "ready", "environment": {}, "fingerprint": "f"}
        devices.append(DeviceRecord.model_validate({**about, "worker": worker, "machine": machine}))
    run = {"run": "r", "created": "", "updated": "", "code": "c", "scheduler": "tcp://x"}
    record = FleetRecord.model_validate({**run, "complete": True, "matrix": {}, "jobs": jobs, "devices": devices})
    assert one_machine(record) == said
    assert one_machine(record.model_copy(update={"scheduler": None})) == []


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ({"state": "lost", "reason": "no device could do it"}, "lost orin/S: no device could do it"),
        ({"state": "done", "worker": "orin-1", "seconds": 44.2}, "done orin/S on orin-1, 44 s"),
        (
            {"state": "done", "worker": "orin-1", "found": True},
            "done orin/S on orin-1, found there, not measured again",
        ),
        ({"state": "failed", "worker": "orin-1", "reason": "why"}, "failed orin/S on orin-1: why"),
    ],
)
def test_a_jobs_end_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: dict[str, object], said: str
) -> None:
    spec = spec_of("S", BlobCache(tmp_path))
    ended = Outcome.model_validate({**outcome, "job": spec.id})
    begun = JobRecord(spec=spec, folder=spec.place, state="waiting")
    run: dict[str, object]
    run = {"run": "r", "created": "", "updated": "", "code": "c", "scheduler": None, "complete": True, "matrix": {}}
    with render_fleet.live(None) as show:
        for job in (begun, begun.model_copy(update={"state": ended.state, "outcome": ended})):
            show(FleetRecord.model_validate({**run, "jobs": [job], "devices": []}))
    assert " ".join(capsys.readouterr().err.splitlines()[-1].split()) == said


def test_a_phase_is_what_is_done_and_not_how_far() -> None:
    assert phase("round 8") == phase("round 91")
    assert phase("sending file 1 of 4, 14.2 MB") == phase("sending file 2 of 4, 0.1 MB")
    assert phase("loading A") != phase("warming up A")


def test_a_new_phase_is_written_at_once_and_progress_now_and_then(tmp_path: Path) -> None:
    sources = BlobCache(tmp_path / "blobs")
    spec = spec_of("S", sources)
    ledger = Ledger(plan_of(tmp_path / "run", [spec], sources), None, None, nothing)

    def written(said: str) -> str:
        ledger.begun(spec, "here", said)
        return read_fleet(tmp_path / "run").jobs[0].said

    assert written("sending file 1 of 4, 14.2 MB") == "sending file 1 of 4, 14.2 MB"
    assert written("round 1") == "round 1"
    assert written("round 2") == "round 1"
    assert written("memory of A") == "memory of A"


def test_a_lock_of_another_user_is_in_use_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """We may read it and not write it: a finished run of theirs does not go on for ever."""

    class Denied:
        def __init__(self, _: Path) -> None: ...

        def acquire(self, timeout: float) -> None:
            raise PermissionError(13, "Permission denied")

    path = tmp_path / ".lock"
    monkeypatch.setattr(locks, "FileLock", Denied)
    with FileLock(path):
        assert locks.in_use(path)
    assert not locks.in_use(path)
    assert not locks.in_use(tmp_path / "none")
