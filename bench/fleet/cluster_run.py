"""Jobs of a run, done by the workers of a Dask cluster.

The client gives each job to an idle worker of this version of the project that offers the job's resource; preferably
to one that holds its result. Dask carries the job there, and tells when it ends or its worker is gone. A job that
failed is then given to another worker; a job whose worker is gone, to any.
"""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.fleet import worker
from bench.fleet.cluster import ANSWER_S, LOST, Worker, call, connected_workers, describe, one_line
from bench.fleet.device import BadFile, missing_files, send_files, store_file
from bench.fleet.record import DeviceRecord, JobRecord
from bench.fleet.run import Run
from bench.fleet.spec import Answer, JobSpec

POLL_S = 1.0
"""Interval at which the client looks for finished jobs and for changed workers."""
SEND_S = 600.0
"""Time to send one file to a worker."""
MOST_LOSSES = 3
"""A job is lost after as many of its workers were lost."""


@dataclass(eq=False)
class Job:
    """A job that is not finished."""

    record: JobRecord
    worker: Worker | None = None
    """The worker that has it, or had it last."""
    failed_on: set[str] = field(default_factory=set)
    """Names of workers."""
    losses: int = 0
    troubles: list[str] = field(default_factory=list)
    bytes_sent: int = 0
    waiting_since: float = field(default_factory=time.monotonic)

    @property
    def spec(self) -> JobSpec:
        """The job's specification."""
        return self.record.spec


class ClusterRun:
    """A run through one connection, a ``distributed.Client``."""

    def __init__(self, client: Any, run: Run, *, wait_s: float, again: bool) -> None:
        self._client, self._run, self._wait_s, self._again = client, run, wait_s, again
        self._workers: dict[str, Worker] = {}
        """All workers that this run has met, by address."""
        self._waiting: list[Job] = []
        self._submitted: dict[Any, Job] = {}
        """By the future of each."""
        self._reports: dict[str, str] = {}
        """Job's id → the worker's last report; written by Dask's thread."""

    def run_all(self) -> None:
        """Do the unfinished jobs of the run.

        Raises:
            NotPossible: the scheduler is gone.
            BadInput: a result cannot be written.
        """
        self._client.subscribe_topic(worker.TOPIC, self._on_report)
        self._update_workers()
        self._run.reopen(again=self._again)
        self._waiting = list(map(Job, self._run.unfinished()))
        while self._waiting or self._submitted:
            for job in list(self._waiting):
                self._assign(job)
            time.sleep(POLL_S)
            for future, job in list(self._submitted.items()):
                self._check(future, job)
            self._update_workers()

    def _on_report(self, event: tuple[float, Any]) -> None:
        """Keep a worker's report; Dask calls this in a thread of its own."""
        job, text = event[1]
        self._reports[job] = text

    def _update_workers(self) -> None:
        """Describe new workers, note which are connected, and record them."""
        present = connected_workers(self._client)
        new = [w for a, w in present.items() if a not in self._workers or not self._workers[a].connected]
        describe(self._client, new, [spec.id for spec in self._run.plan.specs])
        self._workers |= {added.address: added for added in new}
        for address, known in self._workers.items():
            known.connected = address in present
        resources = {spec.device: spec.resource for spec in self._run.plan.specs}
        records: dict[str, DeviceRecord] = {}
        for known in sorted(self._workers.values(), key=lambda known: (known.connected, known.name)):
            records[known.name] = known.record(resources)  # of two with one name, the connected one
        self._run.set_devices(list(records.values()))

    def _able(self, job: Job) -> list[Worker]:
        """Return the workers that may do the job: without those that failed at it or measure a replica of it."""
        spec, excluded = job.spec, set(job.failed_on)
        for other in self._run.record.jobs:
            if (other.spec.device, other.spec.model) == (spec.device, spec.model) and other is not job.record:
                excluded |= {other.worker} if other.state in ("running", "done") else set()
        able = [w for w in self._workers.values() if w.state[0] == "ready" and w.offers(spec.resource)]
        return [candidate for candidate in able if candidate.name not in excluded]

    def _assign(self, job: Job) -> None:
        """Give the job to an idle worker, if there is one; end it after ``wait_s`` without a worker."""
        able = self._able(job)
        if not able:
            if time.monotonic() > job.waiting_since + self._wait_s:
                self._waiting.remove(job)
                self._end_lost(job, f"no device could do it: {self._why_none(job.spec)}")
            return
        job.waiting_since = time.monotonic()
        busy = [other.worker for other in self._submitted.values()]
        candidates = [candidate for candidate in able if candidate.holds(job.spec)] or able
        idle = next((candidate for candidate in candidates if candidate not in busy), None)
        if idle is not None:
            self._waiting.remove(job)
            self._submit(job, idle)

    def _submit(self, job: Job, to: Worker) -> None:
        """Send the job's files and the job to a worker."""
        spec, job.worker = job.spec, to
        ask = partial(call, self._client, to.address, timeout=SEND_S)
        self._run.set_state(job.record, "running", to.name)
        try:
            sources = self._run.plan.sources
            job.bytes_sent = send_files(spec, sources, partial(ask, missing_files), partial(ask, store_file))
        except BadFile as failure:
            self._end(job, Answer.failed(spec, str(failure)))
        except LOST:
            self._lose(job)
        except Exception as error:  # that of the device, such as a full disk
            self._fail(job, one_line(error))
        else:
            options = {"workers": [to.address], "resources": {spec.resource: 1}, "pure": False}
            future = self._client.submit(worker.run_job, spec.model_dump_json(), self._again, **options)
            self._submitted[future] = job

    def _check(self, future: Any, job: Job) -> None:
        """Record the progress of a submitted job, or its end."""
        assert job.worker is not None
        if (text := self._reports.pop(job.spec.id, None)) is not None:
            self._run.set_state(job.record, "running", job.worker.name, text)
        if not future.done() and job.worker.connected:
            return
        del self._submitted[future]
        if not future.done():
            future.cancel()
            self._lose(job)
            return
        try:
            answer = Answer.model_validate(future.result(timeout=ANSWER_S))
        except (Exception, asyncio.CancelledError) as error:  # the job's, Dask's, or of an answer in another form
            if future.status in ("cancelled", "lost"):
                self._lose(job)
            else:
                self._fail(job, one_line(error))
            return
        if answer.outcome.state == "done":
            self._end(job, answer)
        else:
            self._fail(job, answer.outcome.reason)

    def _fail(self, job: Job, reason: str) -> None:
        """Have another worker do the job; without one it has failed."""
        assert job.worker is not None
        job.failed_on.add(job.worker.name)
        if self._able(job):
            self._retry(job, reason)
        else:
            self._end(job, Answer.failed(job.spec, reason))

    def _lose(self, job: Job) -> None:
        """Do the job again; after several losses it is lost."""
        job.losses += 1
        if job.losses < MOST_LOSSES:
            self._retry(job, "its worker is gone")
        else:
            self._end_lost(job, f"{job.losses} of its workers were lost")

    def _retry(self, job: Job, reason: str) -> None:
        assert job.worker is not None
        job.troubles.append(f"{job.worker.name}: {reason}")
        job.waiting_since = time.monotonic()
        self._run.set_state(job.record, "waiting")
        self._waiting.append(job)

    def _end_lost(self, job: Job, reason: str) -> None:
        job.worker = None
        self._end(job, Answer.failed(job.spec, reason, "lost"))

    def _end(self, job: Job, answer: Answer) -> None:
        name = job.worker.name if job.worker else ""
        about = {"worker": name, "troubles": tuple(job.troubles), "bytes_sent": job.bytes_sent}
        outcome = self._run.finish(job.record, answer, **about)
        if (answer.outcome.state, outcome.state) == ("done", "failed"):  # the result was damaged on the way
            self._fail(job, outcome.reason)

    def _why_none(self, spec: JobSpec) -> str:
        """Say why each worker with the job's resource cannot do it; or that none has the resource."""
        other = "it failed at this job, or measures another replica"
        workers = self._workers.values()
        if reasons := [f"{w.name}: {w.state[1] or other}" for w in workers if w.offers(spec.resource)]:
            return "; ".join(reasons)
        offers = [f"{w.name} has {', '.join(w.resources) or 'none'}" for w in workers if w.connected]
        return f"no worker has the resource {spec.resource} ({'; '.join(offers) or 'no worker is connected'})"
