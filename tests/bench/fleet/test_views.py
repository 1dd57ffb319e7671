"""Test the views of a run on a terminal, and the reading of its record."""

from pathlib import Path

import pytest

from bench.fleet.blobs import BlobCache
from bench.fleet.record import DeviceRecord, FleetRecord, JobRecord, one_machine, read_fleet, write_fleet
from bench.fleet.spec import JobSpec, Outcome
from cli.render import fleet as render_fleet
from export.common.errors import BadInput
from tests.support.fleet_plans import spec_of


@pytest.mark.parametrize(
    ("machines", "lines"), [("aa", ["orin and orin-2 are one machine (first, second)"]), ("ab", [])]
)
def test_workers_of_one_machine_are_noted(tmp_path: Path, machines: str, lines: list[str]) -> None:
    sources, jobs, devices = BlobCache(tmp_path), [], []
    for replica, (worker, machine) in enumerate(zip(("first", "second"), machines, strict=True), 1):
        spec = spec_of("S", sources, replica=replica)
        outcome = Outcome(job=spec.id, state="done", worker=worker)
        jobs.append(JobRecord(spec=spec, folder=spec.place, state="done", outcome=outcome, worker=worker))
        about = {"kinds": ["orin"], "state": "ready", "fingerprint": "f"}
        devices.append(DeviceRecord.model_validate({**about, "worker": worker, "machine": machine}))
    run = {"run": "r", "created": "", "updated": "", "code": "c", "scheduler": "tcp://x"}
    record = FleetRecord.model_validate({**run, "complete": True, "matrix": {}, "jobs": jobs, "devices": devices})
    assert one_machine(record) == lines
    assert one_machine(record.model_copy(update={"scheduler": None})) == []


@pytest.fixture
def job(tmp_path: Path) -> JobSpec:
    return spec_of("A", BlobCache(tmp_path / "blobs"))


def record_of(jobs: list[JobRecord]) -> FleetRecord:
    device = DeviceRecord(worker="orin-1", kinds=["orin"], state="ready", machine="m", fingerprint="f")
    about = {"run": "r", "created": "", "updated": "", "scheduler": "tcp://x", "complete": False, "code": "c"}
    return FleetRecord.model_validate({**about, "matrix": {}, "jobs": jobs, "devices": [device]})


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
    log = render_fleet.Log()
    for devices in ([], [device], [device], [late]):
        log.show(record.model_copy(update={"devices": devices}))
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == ["ready device orin-1: orin", "silent device orin-1: it did not answer within 30 s"]


def test_record_of_another_version_is_refused_by_name(job: JobSpec, tmp_path: Path) -> None:
    record = record_of([JobRecord(spec=job, folder="a", state="waiting")])
    write_fleet(tmp_path, record.model_copy(update={"schema_version": "1.2"}))
    with pytest.raises(BadInput, match=r"1\.2") as caught:
        read_fleet(tmp_path)
    assert "fleet run" not in caught.value.advice  # it would refuse the record, too
