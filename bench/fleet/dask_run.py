"""Jobs carried out by the workers of a Dask cluster.

Dask's scheduler chooses a worker by its resource, and gives the job of a worker that dies to another one. The client
submits as many jobs as there are workers, so that one that joins later gets its share. It names the workers that a job
may run on: those of this version of the project that have not failed at it and do not measure a replica of it.
"""

import asyncio
import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from bench.fleet.dask_client import ANSWER_S, LOST, in_a_line
from bench.fleet.dask_worker import TOPIC, dataset, run_job
from bench.fleet.dask_workers import Workers
from bench.fleet.run import Run
from bench.fleet.spec import Answer, JobSpec, Outcome, ResultFile

LOOK_S = 1.0
"""Interval at which the client checks for finished jobs and for changed workers."""
UNEXPECTED_RETRIES = 1
"""By Dask, of a job whose function raises; a job that fails returns its reason instead."""
MOST_LOSSES = 3
"""A job is not submitted again after all of its workers were lost as often as this."""


@dataclass
class Pending:
    """A job that is not finished."""

    spec: JobSpec
    addresses: list[str] = field(default_factory=list)
    """The workers that it is submitted for."""
    worker: str = ""
    """The name of the worker that has it, as that reports."""
    failed_on: set[str] = field(default_factory=set)
    losses: int = 0
    troubles: list[str] = field(default_factory=list)
    waiting_since: float = field(default_factory=time.monotonic)


class DaskRun:
    """A run through one connection.

    Args:
        client: a ``distributed.Client``.
        run: the jobs.
        wait_s: how long a job waits for a worker that may do it.
        again: whether results that devices have are measured once more.
    """

    def __init__(self, client: Any, run: Run, *, wait_s: float, again: bool) -> None:
        self._client, self._run, self._wait_s, self._again = client, run, wait_s, again
        self._workers = Workers(client, run.plan.specs)
        self._waiting: list[Pending] = []
        self._submitted: dict[Any, Pending] = {}
        """By the future of each."""
        self._published: set[str] = set()
        """Digests of files."""
        self._reports: dict[str, tuple[str, str]] = {}
        """Job → the worker that has it, and what it does; written by Dask's thread."""

    def carry_out(self) -> None:
        """Carry out what is not finished.

        Raises:
            NotPossible: the scheduler is gone.
            BadInput: a result cannot be written.
        """
        self._client.subscribe_topic(TOPIC, self._hear)
        self._workers.look()
        self._run.reopen(self._workers.records(), again=self._again)
        self._waiting = [Pending(spec) for spec in self._run.unfinished()]
        while self._waiting or self._submitted:
            self._submit()
            time.sleep(LOOK_S)
            self._collect()
            self._workers.look()
            self._run.see(self._workers.records())
            self._report()
            self._give_up()
            self._unpublish()

    def _submit(self) -> None:
        """Submit waiting jobs, of each resource as many at a time as there are workers."""
        for pending in list(self._waiting):
            spec = pending.spec
            addresses = self._candidates(pending)
            if addresses:
                pending.waiting_since = time.monotonic()
            busy = sum(other.spec.resource == spec.resource for other in self._submitted.values())
            if not addresses or busy >= len(self._workers.ready(spec.resource)):
                continue
            self._waiting.remove(pending)
            pending.addresses, pending.worker = addresses, ""
            self._reports.pop(spec.id, None)
            self._publish(spec)
            future = self._client.submit(
                run_job,
                spec.model_dump_json(),
                self._again,
                self._run.plan.run,
                resources={spec.resource: 1},
                workers=addresses,
                retries=UNEXPECTED_RETRIES,
                pure=False,
            )
            self._submitted[future] = pending

    def _collect(self) -> None:
        """Take the jobs that have ended."""
        self._report()  # a job that failed at once has a worker, too
        for future in [future for future in self._submitted if future.done()]:
            pending = self._submitted.pop(future)
            try:
                answer = Answer.model_validate(future.result(timeout=ANSWER_S))
            except ValidationError as error:
                self._fail(pending, f"its answer has another form ({error.error_count()} mistakes)")
            except (Exception, asyncio.CancelledError) as error:  # Dask promises nothing narrower
                if future.status == "error" and type(error).__name__ != "KilledWorker":
                    self._fail(pending, in_a_line(error))
                else:
                    self._lose(pending, "its worker is gone")
            else:
                self._take(pending, answer)

    def _take(self, pending: Pending, answer: Answer) -> None:
        """Act on what a worker has answered."""
        outcome = answer.outcome
        pending.worker = outcome.worker or pending.worker
        if outcome.job != pending.spec.id:
            self._fail(pending, "its answer is not of this job")
        elif outcome.state != "done":
            self._fail(pending, outcome.reason)
        elif outcome.code != pending.spec.code:
            self._fail(pending, f"refused: its result is of another version of this project ({outcome.code[:12]}…)")
        else:
            self._end(pending, outcome, answer.files)

    def _publish(self, spec: JobSpec) -> None:
        """Publish the job's files on the scheduler, where workers fetch what they lack."""
        for digest in set(spec.files.values()) - self._published:
            with suppress(OSError):  # a worker that lacks it says so
                content = self._run.plan.sources.read(digest)
                self._client.publish_dataset(content, name=dataset(self._run.plan.run, digest), override=True)
                self._published.add(digest)

    def _unpublish(self) -> None:
        """Remove published files that no job needs any more."""
        pending = (*self._waiting, *self._submitted.values())
        needed = {digest for other in pending for digest in other.spec.files.values()}
        for digest in self._published - needed:
            with suppress(*LOST):
                self._client.unpublish_dataset(dataset(self._run.plan.run, digest))
        self._published &= needed

    def _give_up(self) -> None:
        """Take jobs back whose workers are all gone, and end those that no worker could do for long."""
        for future, pending in list(self._submitted.items()):
            if not any(self._workers[address].connected for address in pending.addresses):
                del self._submitted[future]
                future.cancel()
                pending.worker = pending.worker or self._workers[pending.addresses[0]].name
                self._lose(pending, "its worker is gone")
        for pending in list(self._waiting):
            if not self._candidates(pending) and time.monotonic() > pending.waiting_since + self._wait_s:
                self._waiting.remove(pending)
                self._end_lost(pending, f"no device could do it: {self._workers.why_none(pending.spec)}")

    def _fail(self, pending: Pending, reason: str) -> None:
        """Have another worker try the job; without another one it has failed."""
        pending.failed_on.add(pending.worker)
        if pending.worker and self._candidates(pending):
            self._retry(pending, reason)
        else:
            self._end(pending, Outcome(job=pending.spec.id, state="failed", reason=reason), {})

    def _lose(self, pending: Pending, reason: str) -> None:
        """Submit the job again; after several losses it is lost."""
        pending.losses += 1
        if pending.losses < MOST_LOSSES:
            self._retry(pending, reason)
        else:
            self._end_lost(pending, f"{pending.losses} workers were lost with it; {pending.worker}: {reason}")

    def _retry(self, pending: Pending, reason: str) -> None:
        pending.troubles.append(f"{pending.worker}: {reason}")
        pending.waiting_since = time.monotonic()
        self._run.wait(pending.spec)
        self._waiting.append(pending)

    def _end_lost(self, pending: Pending, reason: str) -> None:
        pending.worker = ""
        self._end(pending, Outcome(job=pending.spec.id, state="lost", reason=reason), {})

    def _end(self, pending: Pending, outcome: Outcome, files: dict[ResultFile, bytes]) -> None:
        update = {"worker": pending.worker, "troubles": tuple(pending.troubles)}
        ended = self._run.end(pending.spec, Answer(outcome=outcome.model_copy(update=update), files=files))
        if (outcome.state, ended.state) == ("done", "failed"):  # its result was refused
            self._fail(pending, ended.reason)

    def _candidates(self, pending: Pending) -> list[str]:
        """Return the addresses of the workers that the job may be submitted for."""
        spec = pending.spec
        replicas = [other for other in self._run.plan.specs if other.name != spec.name and _same_job(other, spec)]
        submitted = [other for other in self._submitted.values() if other.spec in replicas]
        excluded = pending.failed_on | {self._run.done_by(other) for other in replicas}
        excluded |= {self._workers[address].name for other in submitted for address in other.addresses}
        able = {a: w for a, w in self._workers.ready(spec.resource).items() if w.name not in excluded}
        choices = [address for address, worker in able.items() if worker.holds(spec)] or list(able)
        if replicas and choices:  # each for one worker only, so that two never share one
            load = Counter(address for other in self._submitted.values() for address in other.addresses)
            return [min(choices, key=lambda address: load[address])]
        return choices

    def _report(self) -> None:
        """Record which worker has each job, and what that does."""
        for pending in self._submitted.values():
            if (report := self._reports.get(pending.spec.id)) is None:
                continue
            worker, text = report
            if pending.worker not in ("", worker):  # Dask has given the job to another one
                pending.troubles.append(f"{pending.worker}: its worker is gone")
            pending.worker = worker
            self._run.progress(pending.spec, worker, text)

    def _hear(self, event: tuple[float, Any]) -> None:
        """Keep a worker's report; Dask calls this in a thread of its own."""
        report = json.loads(event[1])
        self._reports[report["job"]] = (report["worker"], report["text"])


def _same_job(one: JobSpec, other: JobSpec) -> bool:
    """Return whether two jobs differ at most in the device that does them."""
    return (one.device, one.model) == (other.device, other.model)
