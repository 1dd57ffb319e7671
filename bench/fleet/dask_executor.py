"""Jobs carried out by the workers of a Dask cluster, each by one device that is chosen here.

Dask moves messages, knows who lives, and keeps others from the device meanwhile (one resource a task). Which device
gets which job is decided here and not by its scheduler, because a device is asked first what it lacks, replicas need
devices of their own, and a device that fails everything is to get nothing more.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.fleet import dask_task
from bench.fleet.address import Certificates
from bench.fleet.blobs import BlobCache
from bench.fleet.border import shown
from bench.fleet.dask_client import BYTES_PER_S, LOST, READING_S, ask, connect, in_a_line, is_loss
from bench.fleet.dask_task import TOPIC
from bench.fleet.delivery import DeviceLost, Told, Undelivered, deliver, failed
from bench.fleet.executor import OnWork
from bench.fleet.record import DeviceRecord
from bench.fleet.roster import NoDevice, Roster
from bench.fleet.spec import JobResult, JobSpec
from bench.fleet.watch import Watch
from export.errors import Failure, NotPossible

LOOK_S = 2.0
"""How often the scheduler is asked who is there. Devices are not."""
MOST_LOSSES = 3
"""A job that takes three devices with it is sent to no fourth."""


def answer_of(future: Any, timeout_s: float) -> str | None:
    """A task's answer; None if it has none yet.

    Raises:
        Undelivered: it failed with a time-out of its own, or answers with nothing: neither is "not yet".
    """
    try:
        answer = future.result(timeout=timeout_s)
    except TimeoutError as error:
        if future.status == "error" and isinstance(future.exception(timeout=timeout_s), TimeoutError):
            raise Undelivered(f"the job failed in the worker: {in_a_line(error)}") from error
        return None  # whatever else it failed with since, it says when it is asked again
    if not isinstance(answer, str):
        raise Undelivered(f"the job answers with a {type(answer).__name__}, and no text")
    return answer


class DaskExecutor:
    """See ``bench.fleet.executor.Executor``.

    Args:
        address: of the scheduler; that it is safe is seen to by the caller.
        certificates: for ``tls://``.
        specs: all jobs, so that devices can be asked which of them they have done.
        sources: all files that the jobs name.
        on_work: see ``OnWork``.
        again: whether results that devices have are measured once more.
        wait_s: how long a job waits for a device that may do it.

    Raises:
        NotPossible: Dask is not installed, or no scheduler answers.
        BadInput: certificates that cannot be used.
    """

    def __init__(
        self,
        address: str,
        certificates: Certificates,
        specs: Sequence[JobSpec],
        sources: BlobCache,
        on_work: OnWork,
        *,
        again: bool = False,
        wait_s: float = 60.0,
    ) -> None:
        self.at_once = max(1, len(specs))
        self.roster = Roster({spec.device: spec.resource for spec in specs}, wait_s)
        self._address, self._certificates = address, certificates
        self._specs = {spec.id: spec for spec in specs}
        self._sources, self._on_work, self._again = sources, on_work, again
        self._working: dict[str, str] = {}
        """Job → its device."""
        self._closed = threading.Event()
        self._client: Any = connect(address, certificates)
        self._watch = self._listen()
        try:
            for settled in self._watch.look():
                settled.wait()
        except LOST as error:
            self.close()
            raise NotPossible(f"the scheduler at {address} does not answer", in_a_line(error), "restart it") from error
        self._looking = threading.Thread(target=self._keep_looking, name="fleet-watch", daemon=True)
        self._looking.start()

    def run(self, spec: JobSpec) -> JobResult:
        """See ``Executor``: another device of its kind tries where one was lost, or failed."""
        troubles: list[str] = []
        failures: list[str] = []
        result, losses = None, 0
        while True:
            try:
                worker, address = self.roster.take(spec, avoid=failures)
            except NoDevice as nobody:
                return result or _lost(spec, f"no device could do it: {nobody}", troubles)
            self._working[spec.id] = worker
            way, told = _Way(self, worker, address), self._told(spec, worker)
            try:
                result = self._judged(worker, spec, deliver(way, spec, self._sources, self._again, told))
            except DeviceLost as loss:
                troubles.append(f"{worker}: {loss}")
                told("lost; looking for another device")
                losses += 1
                if losses == MOST_LOSSES:
                    return _lost(spec, f"its device was lost {losses} times", troubles)
                continue
            finally:
                self.roster.give_back(worker)
            outcome = result.outcome.model_copy(update={"troubles": tuple(troubles)})
            result = replace(result, outcome=outcome)
            failures.append(worker)
            if outcome.state == "done" or result.ours or not self.roster.another(spec, failures):
                return result
            troubles.append(f"{worker}: {outcome.reason}")

    def _judged(self, worker: str, spec: JobSpec, result: JobResult) -> JobResult:
        """What it says of its device is known before that is free for another job."""
        if result.outcome.state == "done":
            self.roster.did(spec, worker)
        elif not result.ours:
            self.roster.failed(spec, worker, result.outcome.reason)
        return result

    def devices(self) -> Sequence[DeviceRecord]:
        """All workers that were ever seen."""
        return self.roster.records()

    def reserve(self, spec: JobSpec, worker: str) -> None:
        """See ``Executor``."""
        self.roster.did(spec, worker)

    def close(self) -> None:
        """Devices finish what they have begun, and keep its result for the next who asks."""
        self._closed.set()
        self.roster.close()
        with contextlib.suppress(*LOST):
            self._client.close(timeout=5)

    def ask(self, address: str, function: Any, *arguments: Any, timeout_s: float) -> Any:
        """See ``bench.fleet.dask_client.ask``."""
        return ask(self._client, address, function, *arguments, timeout_s=timeout_s)

    def submit(self, address: str, spec: JobSpec, again: bool) -> str:
        """Have the worker there run the job, and wait for its answer.

        Raises:
            DeviceLost: its worker is gone or silent, or the scheduler is gone.
            Undelivered: the worker could not even say what became of the job.
        """
        client, future = self._client, None
        try:
            future = client.submit(
                dask_task.run_job,
                spec.id,
                spec.model_dump_json(),
                again,
                workers=[address],
                allow_other_workers=False,
                resources={spec.resource: 1},
                pure=False,
                retries=0,
                key=f"convnextpose-{spec.id[:16]}-{time.time_ns()}",
            )
            while True:
                if (answer := answer_of(future, LOOK_S)) is not None:
                    return answer
                if self._closed.is_set() or client is not self._client or client.status != "running":
                    raise DeviceLost("the scheduler is gone")
                if trouble := self.roster.trouble(address):
                    future.cancel()
                    raise DeviceLost(trouble)
        except (DeviceLost, Undelivered):
            raise
        except LOST as error:
            if future is not None and future.status == "error" and not is_loss(error):
                raise Undelivered(f"the job failed in the worker: {in_a_line(error)}") from error
            raise DeviceLost(f"the connection broke ({in_a_line(error)})") from error

    def _told(self, spec: JobSpec, worker: str) -> Told:
        return lambda text: self._on_work(spec, worker, text)

    def _listen(self) -> Watch:
        """Hear what devices say of their jobs; returns who looks for them through this connection."""

        def heard(event: tuple[float, Any]) -> None:
            said = event[1]
            job, text = (said.get("job"), said.get("text")) if isinstance(said, dict) else (None, None)
            if isinstance(job, str) and isinstance(text, str) and (spec := self._specs.get(job)) is not None:
                with contextlib.suppress(Failure):  # what cannot be written here ends the run where that waits
                    self._on_work(spec, self._working.get(spec.id, ""), shown(text))

        self._client.subscribe_topic(TOPIC, heard)
        return Watch(self._client, self.roster, list(self._specs))

    def _keep_looking(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                self._watch.look()
            except LOST:
                self.roster.only(())
                self._connect_again()

    def _connect_again(self) -> None:
        """Until it works: whether it is worth waiting for is for the jobs to say."""
        with contextlib.suppress(*LOST):
            self._client.close(timeout=1)
        with contextlib.suppress(*LOST):
            self._client = connect(self._address, self._certificates, timeout_s=LOOK_S)
            self._watch = self._listen()


def _lost(spec: JobSpec, reason: str, troubles: Sequence[str]) -> JobResult:
    return JobResult(failed(spec, reason).model_copy(update={"state": "lost", "troubles": tuple(troubles)}), {})


class _Way:
    """The way to one worker, through the scheduler: an SSH tunnel to that one is enough."""

    def __init__(self, executor: DaskExecutor, worker: str, address: str) -> None:
        self.worker, self._address, self._executor = worker, address, executor

    def lacking(self, digests: list[str]) -> object:
        return self._ask(dask_task.lacking, digests)

    def store(self, digest: str, content: bytes) -> object:
        more_s = len(content) / BYTES_PER_S
        return self._ask(dask_task.store, digest, content, more_s=more_s)

    def run_job(self, spec: JobSpec, again: bool, told: Told) -> str:
        told("handed over")
        return self._executor.submit(self._address, spec, again)

    def fetch(self, digest: str) -> object:
        return self._ask(dask_task.fetch, digest)

    def _ask(self, function: Any, *arguments: Any, more_s: float = 0.0) -> Any:
        """A device that is silent is given nothing until it has answered the watch."""
        try:
            return self._executor.ask(self._address, function, *arguments, timeout_s=READING_S + more_s)
        except DeviceLost as loss:
            self._executor.roster.unanswered(self._address, str(loss))
            raise
