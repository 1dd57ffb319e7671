"""A run: its jobs with what is done of them, and the record that is written after every change."""

import time
from collections.abc import Callable, Sequence

from bench.fleet.plan import FleetPlan
from bench.fleet.record import FLEET, DeviceRecord, FleetRecord, JobRecord, now, read_finished, read_fleet, write_fleet
from bench.fleet.results import BadResult, earlier_results, write_result
from bench.fleet.spec import Answer, JobSpec, Outcome, code_version
from export.common.errors import BadInput
from export.common.files import write_error

PROGRESS_EVERY_S = 10.0
"""Shortest interval between two writes of progress: this machine may be the one that is measured."""

OnChange = Callable[[FleetRecord], None]


class Run:
    """The jobs of a plan. Only one thread may use it.

    Args:
        plan: what to do, and where.
        scheduler: its address; None for a local run.
        on_change: is called with the record after every change.

    Raises:
        BadInput: the folder has a run of the other kind, or a record of another schema.
    """

    def __init__(self, plan: FleetPlan, scheduler: str | None, on_change: OnChange) -> None:
        self.plan, self._scheduler, self._on_change = plan, scheduler, on_change
        before = read_fleet(plan.folder) if (plan.folder / FLEET).is_file() else None
        if before is not None and (before.scheduler is None) != (scheduler is None):
            seen = f"{plan.folder} was made {'on this machine' if before.scheduler is None else 'through a scheduler'}"
            do = "give the matrix another `name` or `out`, or say --scheduler as before"
            raise BadInput("a run is either local or a scheduler's", seen, do)
        self._created = before.created if before is not None else now()
        self._devices: list[DeviceRecord] = []
        self._written = 0.0
        self._earlier = [] if before is None else earlier_results(plan.folder, before, plan.specs)
        self._jobs = {spec.id: self._found(spec) for spec in plan.specs}
        self._write()

    def unfinished(self) -> list[JobSpec]:
        """Return the jobs that are still to be done."""
        return [job.spec for job in self._jobs.values() if job.state != "done"]

    def done_by(self, spec: JobSpec) -> str:
        """Return the worker that has done the job; empty if it is not done."""
        job = self._jobs[spec.id]
        return job.worker if job.state == "done" else ""

    def reopen(self, devices: Sequence[DeviceRecord], *, again: bool) -> None:
        """Reopen finished jobs: all if that is asked for, else those whose device has other libraries or hardware."""
        fingerprints = {device.worker: device.fingerprint for device in devices if device.fingerprint}
        for job in self._jobs.values():
            if job.state != "done" or job.outcome is None:
                continue
            if again or fingerprints.get(job.worker, job.outcome.fingerprint) != job.outcome.fingerprint:
                self._jobs[job.spec.id] = job.model_copy(update={"state": "waiting", "outcome": None, "since": now()})
        self.see(devices)

    def see(self, devices: Sequence[DeviceRecord]) -> None:
        """Record the devices that are there."""
        if list(devices) != self._devices:
            self._devices = list(devices)
            self._write()

    def progress(self, spec: JobSpec, worker: str, text: str) -> None:
        """Record that ``worker`` has the job, and what it does."""
        job = self._jobs[spec.id]
        changed = (job.state, job.worker) != ("running", worker)
        since = now() if changed else job.since
        update = {"state": "running", "worker": worker, "progress": text, "since": since}
        self._jobs[spec.id] = job.model_copy(update=update)
        if changed or time.monotonic() > self._written + PROGRESS_EVERY_S:
            self._write()

    def wait(self, spec: JobSpec) -> None:
        """Record that no worker has the job any more."""
        self._change(spec, state="waiting", worker="", progress="", outcome=None)

    def end(self, spec: JobSpec, answer: Answer) -> Outcome:
        """Write the result, if there is one, and then the job's end.

        Raises:
            BadInput: it cannot be written.
        """
        job, outcome = self._jobs[spec.id], answer.outcome
        if outcome.state == "done":
            try:
                kept = write_result(self.plan.folder, job, answer)
                self._earlier += [] if kept is None else [kept]
            except BadResult as bad:
                outcome = outcome.model_copy(update={"state": "failed", "reason": str(bad), "files": {}})
            except OSError as error:
                raise write_error(self.plan.folder / job.folder, error) from error
        self._change(spec, state=outcome.state, worker=outcome.worker, progress="", outcome=outcome)
        return outcome

    def record(self) -> FleetRecord:
        """Return the record as things stand."""
        return FleetRecord(
            run=self.plan.run,
            created=self._created,
            updated=now(),
            scheduler=self._scheduler,
            complete=all(job.outcome is not None for job in self._jobs.values()),
            code=code_version(),
            matrix=self.plan.matrix,
            jobs=list(self._jobs.values()),
            devices=self._devices,
            earlier=self._earlier,
        )

    def _found(self, spec: JobSpec) -> JobRecord:
        outcome = read_finished(self.plan.folder / spec.name, spec.id)
        job = JobRecord(spec=spec, folder=spec.name, state="waiting", since=now())
        if outcome is None:
            return job
        return job.model_copy(update={"state": "done", "outcome": outcome, "worker": outcome.worker})

    def _change(self, spec: JobSpec, **changes: object) -> None:
        self._jobs[spec.id] = self._jobs[spec.id].model_copy(update={**changes, "since": now()})
        self._write()

    def _write(self) -> None:
        record = self.record()
        write_fleet(self.plan.folder, record)
        self._written = time.monotonic()
        self._on_change(record)
