"""``OUT/fleet/<run>/fleet.json``: the jobs of a run, the devices that it used, and the state of each.

Each job has a folder beside it, ``<device>/<model>/``, with ``manifest.json``, ``bench/result.json`` and
``bench/samples.npz`` as the commands for one machine read them. ``job.json`` is written last and marks the folder as
complete.
"""

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from bench.fleet.spec import SCHEMA_VERSION as SPEC_VERSION
from bench.fleet.spec import JobSpec, Outcome
from bench.results.record import Record
from export.common.errors import BadInput
from export.common.files import sha256_file, write_text
from export.common.records import read_record

SCHEMA_VERSION = "2.0"
FLEET, JOB, LOCK = "fleet.json", "job.json", ".lock"

JobState = Literal["waiting", "running", "done", "failed", "lost"]
DeviceState = Literal["ready", "refused", "silent", "gone"]


class JobRecord(Record):
    """One job and its state."""

    model_config = ConfigDict(frozen=False)

    spec: JobSpec
    folder: str
    """Within the run's folder."""
    state: JobState
    outcome: Outcome | None = None
    worker: str = ""
    """The device that has the job, or had it last."""
    progress: str = ""
    """The device's last report."""
    since: str = ""
    """Time of the last change of state."""


class DeviceRecord(Record):
    """One device of the run; the last two fields are empty if its description was not read."""

    worker: str
    kinds: list[str]
    """The kinds in the matrix that it belongs to."""
    state: DeviceState
    reason: str = ""
    machine: str = ""
    fingerprint: str = ""


class FleetRecord(Record):
    """The whole file."""

    model_config = ConfigDict(frozen=False)

    schema_version: str = SCHEMA_VERSION
    run: str
    created: str
    updated: str
    scheduler: str | None
    """None: this machine did everything."""
    complete: bool
    """True if every job has ended."""
    code: str
    matrix: dict[str, Any]
    jobs: list[JobRecord]
    devices: list[DeviceRecord]


def now() -> str:
    """Return the time: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_fleet(folder: Path, record: FleetRecord) -> None:
    """Write ``fleet.json``."""
    write_text(folder / FLEET, record.model_dump_json(indent=2) + "\n")


def read_fleet(folder: Path) -> FleetRecord:
    """Read the record of the run in ``folder``.

    Raises:
        BadInput: there is none, or it has another schema version.
    """
    advice = "give the matrix another `name`, or move the run's folder away"
    return read_record(folder / FLEET, FleetRecord, (SCHEMA_VERSION,), "fleet record", advice)


def read_finished(folder: Path, job: str) -> Outcome | None:
    """Read the outcome in a result's folder; None if it is of another job, not complete, or damaged."""
    try:
        outcome = read_record(folder / JOB, Outcome, (SPEC_VERSION,), "job record", "")
    except BadInput:
        return None
    if (outcome.job, outcome.state) != (job, "done"):
        return None
    valid = all((folder / name).is_file() and sha256_file(folder / name) == sha for name, sha in outcome.files.items())
    return outcome if valid else None


def one_machine(record: FleetRecord) -> list[str]:
    """Return a line for each machine that is counted as several devices."""
    if record.scheduler is None:
        return []
    machines = {device.worker: device.machine for device in record.devices}
    workers = defaultdict[str, dict[str, str]](dict)
    for job in record.jobs:
        if job.state == "done" and (machine := machines.get(job.worker)):
            workers[machine][job.spec.place] = job.worker
    return [
        f"{' and '.join(places)} are one machine ({', '.join(dict.fromkeys(places.values()))})"
        for places in workers.values()
        if len(places) > 1
    ]
