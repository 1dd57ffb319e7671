"""The record of a run, written after every change, with the folder of its results."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.fleet.plan import FleetPlan
from bench.fleet.record import (
    FLEET,
    JOB,
    DeviceRecord,
    FleetRecord,
    JobRecord,
    JobState,
    now,
    read_finished,
    read_fleet,
    write_fleet,
)
from bench.fleet.spec import Answer, JobSpec, Outcome, ResultFile, code_version
from export.common.errors import BadInput
from export.common.files import PARTIAL_PREFIX, write_error, write_text
from export.common.temporary import temporary_folder

OnChange = Callable[[FleetRecord], None]


class Run:
    """The record of a run, and the folder of its results. Only one thread may use it.

    Raises:
        BadInput: the folder has a run of the other kind, or a record of another schema.
    """

    def __init__(self, plan: FleetPlan, scheduler: str | None, on_change: OnChange) -> None:
        self.plan, self._on_change = plan, on_change
        before = read_fleet(plan.folder) if (plan.folder / FLEET).is_file() else None
        if before is not None and (before.scheduler is None) != (scheduler is None):
            value = f"{plan.folder} was made {'on this machine' if before.scheduler is None else 'through a scheduler'}"
            advice = "give the matrix another `name` or `out`, or give --scheduler as before"
            raise BadInput("a run is either local or uses a scheduler", value, advice)
        self.record = FleetRecord(
            run=plan.run,
            created=before.created if before else now(),
            updated=now(),
            scheduler=scheduler,
            complete=False,
            code=code_version(),
            matrix=plan.matrix,
            jobs=[self._read_job(spec) for spec in plan.specs],
            devices=[],
        )
        self._write()

    def unfinished(self) -> list[JobRecord]:
        """Return the jobs that are not done."""
        return [job for job in self.record.jobs if job.state != "done"]

    def reopen(self, *, again: bool) -> None:
        """Reopen finished jobs: all with ``again``, otherwise those measured with other hardware or libraries."""
        fingerprints = {device.worker: device.fingerprint for device in self.record.devices if device.fingerprint}
        for job in self.record.jobs:
            if job.outcome is not None and job.state == "done":
                same = fingerprints.get(job.worker, job.outcome.fingerprint) == job.outcome.fingerprint
                if again or not same:
                    self.set_state(job, "waiting", job.worker)

    def set_devices(self, devices: Sequence[DeviceRecord]) -> None:
        """Record the devices and their states."""
        if list(devices) != self.record.devices:
            self.record.devices = list(devices)
            self._write()

    def set_state(
        self, job: JobRecord, state: JobState, worker: str = "", progress: str = "", outcome: Outcome | None = None
    ) -> None:
        """Record the state of a job, and the worker that has it."""
        if (job.state, job.worker) != (state, worker):
            job.since = now()
        job.state, job.worker, job.progress, job.outcome = state, worker, progress, outcome
        self._write()

    def finish(self, job: JobRecord, answer: Answer, **about: object) -> Outcome:
        """Write the result, if there is one, and then the job's end.

        Returns:
            The outcome; failed, if the result was damaged on the way.

        Raises:
            BadInput: the folder cannot be written.
        """
        outcome = answer.outcome.model_copy(update=about)
        if outcome.state == "done":
            try:
                write_result(self.plan.folder, job, outcome, answer.files)
            except ValueError as damaged:
                outcome = outcome.model_copy(update={"state": "failed", "reason": str(damaged), "files": {}})
            except OSError as error:
                raise write_error(self.plan.folder / job.folder, error) from error
        self.set_state(job, outcome.state, outcome.worker, outcome=outcome)
        return outcome

    def _read_job(self, spec: JobSpec) -> JobRecord:
        outcome = read_finished(self.plan.folder / spec.name, spec.id)
        job = JobRecord(spec=spec, folder=spec.name, state="waiting", since=now())
        if outcome is not None:
            job.state, job.outcome, job.worker = "done", outcome, outcome.worker
        return job

    def _write(self) -> None:
        self.record.updated = now()
        self.record.complete = all(job.outcome is not None for job in self.record.jobs)
        write_fleet(self.plan.folder, self.record)
        self._on_change(self.record)


def write_result(folder: Path, job: JobRecord, outcome: Outcome, files: Mapping[ResultFile, bytes]) -> None:
    """Write the result of a finished job in place of an earlier one.

    Raises:
        ValueError: a hash in the outcome is not that of its file.
        OSError, BadInput: the folder cannot be written.
    """
    place = folder / job.folder
    place.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(PARTIAL_PREFIX, place.parent) as temporary:
        new = temporary / "new"
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        write_text(new / JOB, outcome.model_dump_json(indent=2) + "\n")
        if read_finished(new, job.spec.id) is None:
            raise ValueError("its result was damaged on the way: a hash does not match its file")
        earlier = temporary / "earlier"
        if place.exists():
            place.rename(earlier)
        try:
            new.rename(place)
        except OSError:
            if earlier.exists():
                earlier.rename(place)
            raise
