"""The workers of a Dask cluster: what they are, and which of them may get jobs."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bench.fleet import dask_client, dask_worker
from bench.fleet.address import Scheduler
from bench.fleet.dask_client import ask, connected, in_a_line, workers_of
from bench.fleet.device import OTHER_CODE
from bench.fleet.record import DeviceRecord, DeviceState
from bench.fleet.spec import DeviceFacts, JobSpec, code_version


@dataclass
class Worker:
    """A worker that was seen."""

    name: str
    resources: Mapping[str, float]
    facts: DeviceFacts | None = None
    problem: str = ""
    """Why there are no facts."""
    connected: bool = True

    def offers(self, resource: str) -> bool:
        """Return whether the worker was started with the resource."""
        return self.resources.get(resource, 0) >= 1

    def holds(self, spec: JobSpec) -> bool:
        """Return whether the device has the job's result, or is making it."""
        return self.facts is not None and spec.id in self.facts.holding

    @property
    def state(self) -> tuple[DeviceState, str]:
        """Its state, and the problem where it may get no jobs."""
        if self.facts is not None and self.facts.code != code_version():
            return "refused", OTHER_CODE
        if not self.connected:
            return "gone", "its worker is not connected"
        return ("ready", "") if self.facts is not None else ("silent", self.problem)

    def record(self, kinds: Mapping[str, str]) -> DeviceRecord:
        """Return its record; ``kinds``: name of a kind → its resource."""
        state, reason = self.state
        return DeviceRecord(
            worker=self.name,
            kinds=[kind for kind, resource in kinds.items() if self.offers(resource)],
            state=state,
            reason=reason,
            machine=self.facts.machine if self.facts else "",
            environment=self.facts.environment if self.facts else {},
            fingerprint=self.facts.fingerprint if self.facts else "",
        )


class Workers:
    """All workers that a run has seen, by address.

    Args:
        client: a ``distributed.Client``.
        specs: the jobs of the run.
    """

    def __init__(self, client: Any, specs: Sequence[JobSpec]) -> None:
        self._client = client
        self._jobs = [spec.id for spec in specs]
        self._kinds = {spec.device: spec.resource for spec in specs}
        self._known: dict[str, Worker] = {}

    def __getitem__(self, address: str) -> Worker:
        return self._known[address]

    def look(self) -> None:
        """Greet workers that are new, and note which are connected.

        Raises:
            NotPossible: the scheduler is gone.
        """
        there = workers_of(self._client)
        new = {a: about for a, about in there.items() if a not in self._known or not self._known[a].connected}
        for address, worker in greet(self._client, new, self._jobs).items():
            self._known.pop(address, None)  # the newest of a name comes last
            self._known[address] = worker
        for address, worker in self._known.items():
            worker.connected = address in there

    def records(self) -> list[DeviceRecord]:
        """Return a record for each name."""
        named = {worker.name: worker.record(self._kinds) for worker in self._known.values()}
        return [named[name] for name in sorted(named)]

    def ready(self, resource: str) -> dict[str, Worker]:
        """Return the workers that may get jobs and have the resource, by address."""
        return {a: w for a, w in self._known.items() if w.state[0] == "ready" and w.offers(resource)}

    def why_none(self, spec: JobSpec) -> str:
        """Say why each worker with the job's resource cannot do it; or that none has the resource."""
        other = "it failed at this job, or measures another replica"
        if reasons := [f"{w.name}: {w.state[1] or other}" for w in self._known.values() if w.offers(spec.resource)]:
            return "; ".join(reasons)
        have = [f"{w.name} has {', '.join(w.resources) or 'none'}" for w in self._known.values() if w.connected]
        return f"no worker has the resource {spec.resource} ({'; '.join(have) or 'no worker is connected'})"


def greet(client: Any, about: Mapping[str, Any], jobs: Sequence[str] = ()) -> dict[str, Worker]:
    """Ask workers what they are, all at once; ``about`` is what the scheduler knows of them."""

    def one(address: str) -> Worker:
        worker = Worker(str(about[address]["name"]), dict(about[address]["resources"]))
        try:
            facts = DeviceFacts.model_validate_json(ask(client, address, dask_worker.hello, list(jobs)))
            update = {"worker": worker.name, "resources": dict(worker.resources)}
            worker.facts = facts.model_copy(update=update)
        except TimeoutError:
            worker.problem = f"it did not answer within {dask_client.ANSWER_S:g} s"
        except ValidationError as error:
            worker.problem = f"it answers in another form ({error.error_count()} mistakes)"
        except Exception as error:  # Dask promises nothing narrower, and the worker may be another program
            worker.problem = f"it did not answer ({in_a_line(error)})"
        return worker

    with ThreadPoolExecutor(max(1, len(about))) as pool:  # one that hangs delays no other
        return dict(zip(about, pool.map(one, about), strict=True))


def survey(scheduler: Scheduler) -> tuple[list[DeviceFacts], list[str]]:
    """Ask all workers what they are; return them by name, and a line for each that does not answer.

    Raises:
        NotPossible, BadInput: see ``connected``.
    """
    with connected(scheduler) as client:
        workers = greet(client, workers_of(client))
    named = sorted(workers.values(), key=lambda worker: worker.name)
    return [w.facts for w in named if w.facts], [f"{w.name}: {w.problem}" for w in named if not w.facts]
