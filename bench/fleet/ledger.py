"""A run's record while it is kept: every change of state is written before the next, so none is lost with a client."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.fleet.plan import FleetPlan
from bench.fleet.record import JOB, DeviceRecord, FleetRecord, JobRecord, JobState, write_fleet
from bench.fleet.shelf import found_here, make_room, place_of, put_aside
from bench.fleet.spec import JobResult, JobSpec, Outcome, code_version, phase
from export.artifacts import PARTIAL_PREFIX, write_text
from export.errors import BadInput

WRITE_EVERY_S = 10.0
"""Where only how far a device is has changed: this machine may be the one that is measured."""

OnChange = Callable[[FleetRecord], None]
Devices = Callable[[], Sequence[DeviceRecord]]


class Ledger:
    """The jobs of ``plan``, with what earlier runs have finished of them; safe to be used by several threads."""

    def __init__(self, plan: FleetPlan, scheduler: str | None, created: str | None, on_change: OnChange) -> None:
        self._folder, self._plan, self._scheduler = plan.folder, plan, scheduler
        self._created, self._on_change = created or now(), on_change
        self._lock = threading.Lock()
        self._devices: Devices = list
        self._states: Sequence[tuple[str, str]] = []
        self._written = 0.0
        self._earlier = put_aside(plan.folder, plan.specs)
        self._jobs = {spec.id: self._as_found(spec) for spec in plan.specs}

    def record(self) -> FleetRecord:
        """As things stand."""
        with self._lock:
            return self._record()

    def unfinished(self) -> list[JobSpec]:
        """What is still to be done."""
        return [job.spec for job in self._jobs.values() if job.state != "done"]

    def finished(self) -> list[JobRecord]:
        """What need not be."""
        return [job for job in self._jobs.values() if job.state == "done"]

    def reopen(self, job: str, why: str) -> None:
        """Do it again."""
        self._change(job, "waiting", said=why, outcome=None)

    def begun(self, spec: JobSpec, worker: str, said: str) -> None:
        """A device has the job, and says what it does."""
        self._change(spec.id, "running", worker=worker, said=said)

    def ended(self, spec: JobSpec, result: JobResult) -> None:
        """Put the result into its place, and then say so."""
        if result.outcome.state == "done":
            self._put(spec, result)
        outcome = result.outcome
        self._change(spec.id, outcome.state, worker=outcome.worker, said="", outcome=outcome)

    def seen(self, devices: Devices) -> None:
        """Whom to ask for the devices that are there."""
        with self._lock:
            self._devices = devices
            self._tell()

    def _as_found(self, spec: JobSpec) -> JobRecord:
        outcome = found_here(self._folder, spec)
        state: JobState = "waiting" if outcome is None else "done"
        worker = outcome.worker if outcome else ""
        return JobRecord(spec=spec, folder=place_of(spec), state=state, outcome=outcome, worker=worker, since=now())

    def _change(self, job: str, state: JobState, **changes: str | Outcome | None) -> None:
        with self._lock:
            before = self._jobs[job]
            if before.outcome is not None and state == "running":
                return  # a device's word that came late
            if state != before.state:
                changes["since"] = now()
            self._jobs[job] = before.model_copy(update={"state": state, **changes})
            told = self._jobs[job]
            new = (told.state, phase(told.said)) != (before.state, phase(before.said))
            self._tell(write=new or time.monotonic() > self._written + WRITE_EVERY_S)

    def _tell(self, *, write: bool = True) -> None:
        record = self._record()
        states = [(device.worker, device.state) for device in record.devices]
        if write or states != self._states:
            self._states = states
            with _kept(self._folder):
                write_fleet(self._folder, record)
            self._written = time.monotonic()
        self._on_change(record)

    def _record(self) -> FleetRecord:
        return FleetRecord(
            run=self._plan.run,
            created=self._created,
            updated=now(),
            scheduler=self._scheduler,
            complete=all(job.outcome is not None for job in self._jobs.values()),
            code=code_version(),
            matrix=self._plan.matrix,
            jobs=list(self._jobs.values()),
            devices=list(self._devices()),
            earlier=self._earlier,
        )

    def _put(self, spec: JobSpec, result: JobResult) -> None:
        """The result's folder appears whole; what the job had measured before is kept apart and listed first.

        Raises:
            BadInput: it cannot be written.
        """
        place = self._folder / place_of(spec)
        with _kept(place):
            if (before := make_room(self._folder, spec, result.outcome)) is not None:
                with self._lock:
                    self._earlier = [*self._earlier, before]
                    self._tell()
            self._write(place, result)

    def _write(self, place: Path, result: JobResult) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=place.parent) as folder:
            new = Path(folder) / "new"
            for name, digest in result.outcome.files.items():
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(result.blobs[digest])
            write_text(new / JOB, result.outcome.model_dump_json(indent=2) + "\n")
            if place.exists():
                place.replace(Path(folder) / "old")
            new.replace(place)


@contextmanager
def _kept(place: Path) -> Iterator[None]:
    """What cannot be written ends the run, and nothing that was.

    Raises:
        BadInput: says so.
    """
    do = "make room, or let it be written; then `convnextpose fleet resume` does what is missing: all else is kept"
    try:
        yield
    except BadInput as failure:
        raise BadInput(failure.what, failure.seen, do) from failure
    except OSError as error:
        raise BadInput(f"cannot write {place}", error.strerror or str(error), do) from error


def now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
