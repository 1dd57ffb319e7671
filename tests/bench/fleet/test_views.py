"""Test the views of a run and its devices on a terminal, and the reading of its record."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.fleet.blobs import BlobCache
from bench.fleet.record import DeviceRecord, FleetRecord, JobRecord, estimated_end, one_machine, read_fleet
from bench.fleet.spec import DeviceFacts, JobSpec, Outcome, code_version
from cli.render import fleet as render_fleet
from tests.support.fleet_plans import ORIN, spec_of

FACTS = {"resources": {ORIN: 1.0}, "machine": "m", "fingerprint": "f"}
OURS = {
    "environment": {
        "host": {"cpu": "A processor", "usable_cores": 6},
        "gpus": [],
        "software": {"python": "3.11.2"},
    },
    "doctor": {"capabilities": []},
}


def test_device_of_another_version_is_shown_whatever_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    ours = DeviceFacts.model_validate({**FACTS, **OURS, "worker": "orin-1", "code": code_version()})
    other = DeviceFacts.model_validate({**FACTS, "environment": {}, "doctor": {}, "worker": "orin-2", "code": "c"})
    render_fleet.devices([other, ours])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("orin-2") and "another version" in line for line in lines)
    assert any(line.startswith("orin-1") and "A processor" in line and "the same" in line for line in lines)


@pytest.mark.parametrize(
    ("machines", "lines"), [("aa", ["orin and orin-2 are one machine (first, second)"]), ("ab", [])]
)
def test_workers_of_one_machine_are_noted(tmp_path: Path, machines: str, lines: list[str]) -> None:
    sources, jobs, devices = BlobCache(tmp_path), [], []
    for replica, (worker, machine) in enumerate(zip(("first", "second"), machines, strict=True), 1):
        spec = spec_of("S", sources, replica=replica)
        outcome = Outcome(job=spec.id, state="done", worker=worker)
        jobs.append(JobRecord(spec=spec, folder=spec.place, state="done", outcome=outcome, worker=worker))
        about = {"kinds": ["orin"], "state": "ready", "environment": {}, "fingerprint": "f"}
        devices.append(DeviceRecord.model_validate({**about, "worker": worker, "machine": machine}))
    run = {"run": "r", "created": "", "updated": "", "code": "c", "scheduler": "tcp://x"}
    record = FleetRecord.model_validate({**run, "complete": True, "matrix": {}, "jobs": jobs, "devices": devices})
    assert one_machine(record) == lines
    assert one_machine(record.model_copy(update={"scheduler": None})) == []


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    return spec_of("A", BlobCache(tmp_path / "blobs"))


def record_of(jobs: list[JobRecord]) -> FleetRecord:
    device = DeviceRecord(worker="orin-1", kinds=["orin"], state="ready", machine="m", environment={}, fingerprint="f")
    about = {"run": "r", "created": "", "updated": "", "scheduler": "tcp://x", "complete": False, "code": "c"}
    return FleetRecord.model_validate({**about, "matrix": {}, "jobs": jobs, "devices": [device]})


def test_the_end_is_estimated_from_jobs_of_the_same_kind(job: JobSpec) -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    done = Outcome(job=job.id, state="done", seconds=100)
    waiting = JobRecord(spec=job, folder="a", state="waiting")
    running = JobRecord(spec=job, folder="b", state="running", since=(now - timedelta(seconds=30)).isoformat())
    ended = JobRecord(spec=job, folder="c", state="done", outcome=done)
    assert estimated_end(record_of([ended, running, waiting]), now) == now + timedelta(seconds=170)
    assert estimated_end(record_of([running, waiting]), now) is None
    found = ended.model_copy(update={"outcome": done.model_copy(update={"found": True})})
    assert estimated_end(record_of([found, waiting]), now) is None


def test_status_of_a_run_without_client_names_missing_jobs(job: JobSpec, capsys: pytest.CaptureFixture[str]) -> None:
    lost = Outcome(job=job.id, state="lost", reason="no device could do it: [nobody]")
    jobs = [
        JobRecord(spec=job, folder="a", state="lost", outcome=lost),
        JobRecord(
            spec=job, folder="b", state="running", worker="orin-1", progress="loading", since="2026-01-01T00:00:00Z"
        ),
    ]
    render_fleet.status(record_of(jobs), going_on=False)
    shown = capsys.readouterr().out
    for part in (
        "2 jobs, 1 lost, 1 running",
        "orin/A: loading",
        "no device could do it: [nobody]",
        "no client works on it",
    ):
        assert part in shown


def test_log_has_a_line_for_each_change_of_a_device(job: JobSpec, capsys: pytest.CaptureFixture[str]) -> None:
    record = record_of([JobRecord(spec=job, folder="a", state="waiting")])
    (device,) = record.devices
    late = device.model_copy(update={"state": "silent", "reason": "it did not answer within 30 s"})
    with render_fleet.live(None) as show:
        for devices in ([], [device], [device], [late]):
            show(record.model_copy(update={"devices": devices}))
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == ["ready device orin-1: orin", "silent device orin-1: it did not answer within 30 s"]


def test_record_of_the_previous_version_is_read(job: JobSpec, tmp_path: Path) -> None:
    """1.0 as it was written: without jobs of an earlier matrix, and ``progress`` called ``said``."""
    before = record_of([JobRecord(spec=job, folder="a", state="running", progress="loading")])
    plain = json.loads(before.model_dump_json()) | {"schema_version": "1.0"}
    del plain["earlier"]
    plain["jobs"][0]["said"] = plain["jobs"][0].pop("progress")
    (tmp_path / "fleet.json").write_text(json.dumps(plain))
    assert read_fleet(tmp_path) == before.model_copy(update={"schema_version": "1.0"})
