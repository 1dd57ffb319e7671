"""``OUT/fleet/<run>/fleet.json``: the jobs of a run, the devices that it saw, and the state of each.

Beside it is one folder for each job, ``<device>/<model>/``, with ``manifest.json``, ``bench/result.json`` and
``bench/samples.npz`` as the commands for one machine read them, and ``job.json``, which is written last and marks the
folder as whole. Results that another one has replaced are in ``earlier/<job>-<number>/<device>/<model>/``.
"""

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from bench.fleet.spec import SCHEMA_VERSION as SPEC_VERSION
from bench.fleet.spec import JobSpec, Outcome
from bench.machine.locks import is_locked
from bench.results.record import Record
from bench.results.result import RESULT, Result, read_result
from export.common.errors import BadInput
from export.common.files import sha256_file, write_text

SCHEMA_VERSION = "1.2"
READABLE = ("1.0", "1.1", SCHEMA_VERSION)
"""1.0 had no ``earlier``; until 1.1 ``progress`` was called ``said``, and a device could be benched."""
FLEET, JOB, LOCK = "fleet.json", "job.json", ".lock"
BENCH, EARLIER = "bench", "earlier"

JobState = Literal["waiting", "running", "done", "failed", "lost"]
DeviceState = Literal["ready", "refused", "benched", "silent", "gone"]
T = TypeVar("T", bound=BaseModel)


class JobRecord(Record):
    """One job, as it stands."""

    spec: JobSpec
    folder: str
    """Within the run's folder."""
    state: JobState
    outcome: Outcome | None = None
    worker: str = ""
    """Which device has it now, or had it last."""
    progress: str = Field(default="", validation_alias=AliasChoices("progress", "said"))
    """The device's last report."""
    since: str = ""
    """When it came into this state."""


class DeviceRecord(Record):
    """One device that was seen."""

    worker: str
    kinds: list[str]
    """Of the matrix, that it can stand for."""
    state: DeviceState
    reason: str = ""
    machine: str
    environment: dict[str, Any]
    fingerprint: str
    """These three are empty for a device that did not answer."""


class FleetRecord(Record):
    """The whole file."""

    schema_version: str = SCHEMA_VERSION
    run: str
    created: str
    updated: str
    scheduler: str | None
    """None: everything was carried out on the client's machine."""
    complete: bool
    """Whether every job has an end."""
    code: str
    matrix: dict[str, Any]
    jobs: list[JobRecord]
    devices: list[DeviceRecord]
    earlier: list[JobRecord] = Field(default_factory=list)
    """Results that are kept and not counted: of jobs that the matrix no longer has, or that were done again."""


def now() -> str:
    """Return the time: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_fleet(folder: Path, record: FleetRecord) -> None:
    """Write ``fleet.json``."""
    write_text(folder / FLEET, record.model_dump_json(indent=2) + "\n")


def read_fleet(folder: Path) -> FleetRecord:
    """Read the record of the run in ``folder``.

    Raises:
        BadInput: there is none, or one of another schema version.
    """
    return _read(folder / FLEET, FleetRecord, READABLE, "run `convnextpose fleet run` again")


def going_on(folder: Path) -> bool:
    """Return whether a client works at this run now."""
    return is_locked(folder / LOCK)


def read_finished(folder: Path, job: str) -> Outcome | None:
    """Read the outcome in a result's folder, if that is whole and of this very job."""
    try:
        outcome = _read(folder / JOB, Outcome, (SPEC_VERSION,), "")
    except BadInput:
        return None
    if (outcome.job, outcome.state) != (job, "done"):
        return None
    whole = all((folder / name).is_file() and sha256_file(folder / name) == of for name, of in outcome.files.items())
    return outcome if whole else None


def measured(folder: Path, record: FleetRecord) -> Mapping[str, Result]:
    """Read the results of the jobs that are done: job's folder → result, in the order of the matrix.

    Raises:
        BadInput: a result was changed, or is of another schema version.
    """
    done = [job.folder for job in record.jobs if job.state == "done"]
    try:
        return {name: read_result(folder / name / BENCH / RESULT) for name in done}
    except BadInput as failure:
        do = f"bring it again from its device: convnextpose fleet resume {shlex.quote(str(folder))}"
        raise BadInput(failure.problem, failure.detail, do) from failure


def one_machine(record: FleetRecord) -> list[str]:
    """Return a line for each machine that stands behind several devices."""
    if record.scheduler is None:
        return []
    machines = {device.worker: device.machine for device in record.devices}
    behind = defaultdict[str, dict[str, str]](dict)
    for job in record.jobs:
        if job.state == "done" and (machine := machines.get(job.worker)):
            behind[machine][job.spec.place] = job.worker
    return [
        f"{' and '.join(places)} are one machine ({', '.join(dict.fromkeys(places.values()))})"
        for places in behind.values()
        if len(places) > 1
    ]


def estimated_end(record: FleetRecord, at: datetime) -> datetime | None:
    """Estimate the end of the last job from the mean time of the jobs of its kind; None without such a job."""
    ends = [_estimate(record, kind, at) for kind in {job.spec.device for job in record.jobs if job.outcome is None}]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _estimate(record: FleetRecord, kind: str, at: datetime) -> datetime | None:
    jobs = [job for job in record.jobs if job.spec.device == kind]
    took = [job.outcome.seconds for job in jobs if job.state == "done" and job.outcome and not job.outcome.found]
    devices = sum(kind in device.kinds and device.state == "ready" for device in record.devices)
    if not took or not devices:
        return None
    mean = sum(took) / len(took)
    running = [job for job in jobs if job.state == "running"]
    spent = sum(min(mean, (at - datetime.fromisoformat(job.since)).total_seconds()) for job in running)
    left = mean * sum(job.outcome is None for job in jobs) - spent
    workers = 1 if record.scheduler is None else devices
    return at + timedelta(seconds=left / workers)


def _read(path: Path, kind: type[T], versions: Sequence[str], do: str) -> T:
    try:
        plain = json.loads(path.read_bytes())
        if plain["schema_version"] not in versions:
            raise ValueError(f"schema_version {plain['schema_version']}")
        return kind.model_validate(plain)
    except OSError as error:
        raise BadInput(f"there is no {path.name} in {path.parent}", error.strerror or str(error), do) from error
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        seen = str(error).splitlines()[0] if not isinstance(error, KeyError) else "no schema_version"
        raise BadInput(f"{path} is not of schema {' or '.join(versions)}", seen, do) from error
