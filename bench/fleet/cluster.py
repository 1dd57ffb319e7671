"""A Dask cluster: the connection to its scheduler, and its workers with their descriptions."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bench.fleet import worker
from bench.fleet.address import Scheduler
from bench.fleet.device import OTHER_CODE
from bench.fleet.record import DeviceRecord, DeviceState
from bench.fleet.spec import DeviceFacts, JobSpec, code_version
from export.common.errors import BadInput, NotPossible
from export.common.extras import require_modules

CONNECT_S = 10.0
ANSWER_S = 30.0
"""Time for a question to a worker, and to the scheduler."""
LOST = (OSError, TimeoutError, CancelledError, asyncio.CancelledError)
"""Exceptions of a lost connection; Dask's communication errors are subclasses of OSError."""


@dataclass(eq=False)
class Worker:
    """A worker of the cluster."""

    address: str
    name: str
    resources: Mapping[str, float]
    facts: DeviceFacts | None = None
    problem: str = ""
    """The reason if there are no facts."""
    other_code: bool = False
    """True if it has another version of this project."""
    connected: bool = True

    def offers(self, resource: str) -> bool:
        """Return whether the worker was started with the resource."""
        return self.resources.get(resource, 0) >= 1

    def holds(self, spec: JobSpec) -> bool:
        """Return whether the device had the job's result when it connected, or was producing it."""
        return self.facts is not None and spec.id in self.facts.holding

    @property
    def state(self) -> tuple[DeviceState, str]:
        """Its state, and the reason if it gets no jobs."""
        if self.other_code:
            return "refused", OTHER_CODE
        if not self.connected:
            return "gone", "its worker is not connected"
        return ("ready", "") if self.facts is not None else ("silent", self.problem)

    def record(self, kinds: Mapping[str, str]) -> DeviceRecord:
        """Return its record; ``kinds``: name of a kind → its resource."""
        state, reason = self.state
        about = self.facts.model_dump(include={"machine", "fingerprint"}) if self.facts else {}
        kinds_here = [kind for kind, resource in kinds.items() if self.offers(resource)]
        return DeviceRecord(worker=self.name, kinds=kinds_here, state=state, reason=reason, **about)


@contextmanager
def connected(scheduler: Scheduler) -> Iterator[Any]:
    """Open a ``distributed.Client``; when it closes, workers finish their present jobs and keep the results.

    Raises:
        NotPossible: Dask is not installed, or no scheduler answers.
        BadInput: certificates are missing or cannot be used.
    """
    require_modules("--scheduler", "distributed")
    from distributed import Client

    security = _security(scheduler)
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            scheduler.address, security=security, timeout=CONNECT_S, set_as_default=False, name="convnextpose-fleet"
        )
    except LOST as error:
        problem = f"no scheduler answers at {scheduler.address}"
        raise NotPossible(problem, one_line(error), "start it as docs/how-to/fleet.md shows") from error
    try:
        yield client
    finally:
        with suppress(*LOST):
            client.close(timeout=5)


def connected_workers(client: Any) -> dict[str, Worker]:
    """Return the workers that the scheduler knows, by address, without their facts.

    Raises:
        NotPossible: the connection is lost.
    """
    try:
        if client.status != "running":
            raise OSError(f"the connection is {client.status}")
        identity = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S)
    except LOST as error:
        advice = "start it and its workers; then `convnextpose fleet run` does the missing jobs"
        raise NotPossible("the scheduler is gone", one_line(error), advice) from error
    return {a: Worker(a, str(about["name"]), dict(about["resources"])) for a, about in identity["workers"].items()}


def describe(client: Any, workers: Sequence[Worker], jobs: Sequence[str] = ()) -> None:
    """Set the facts of workers, or the problem; ask all at once, so that a hanging one delays no other."""

    def ask(target: Worker) -> None:
        try:
            answer = call(client, target.address, worker.describe, list(jobs))
            target.other_code = json.loads(answer).get("code") != code_version()  # its facts may have another form
            target.facts = DeviceFacts.model_validate_json(answer)
        except Exception as error:  # Dask promises nothing narrower, and the worker may be another program
            target.problem = f"it did not describe itself within {ANSWER_S:g} s ({one_line(error)})"

    with ThreadPoolExecutor(max(1, len(workers))) as pool:
        list(pool.map(ask, workers))


def call(client: Any, address: str, function: Any, *arguments: Any, timeout: float | None = None) -> Any:
    """Return the result of ``function`` on the worker at ``address``, which may be busy with a job.

    Raises:
        Exception: that of the function, or Dask's own if the worker does not answer.
    """
    return client.run(function, *arguments, workers=[address], callback_timeout=timeout or ANSWER_S)[address]


def one_line(error: BaseException) -> str:
    """Return the exception's type and the first line of its text."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _security(scheduler: Scheduler) -> Any:
    """Return the TLS settings for the scheduler; None for a plain connection."""
    from distributed.security import Security

    if not scheduler.address.startswith(("tls://", "wss://")):
        return None
    paths = {"tls_ca_file": scheduler.ca, "tls_client_cert": scheduler.cert, "tls_client_key": scheduler.key}
    options = {name: str(path) for name, path in paths.items() if path is not None}
    advice = "create certificates as docs/how-to/fleet.md shows, or name them in Dask's configuration"
    try:
        security: Any = Security(require_encryption=True, **options)  # type: ignore[no-untyped-call]
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadInput("the certificates cannot be used", str(error), advice) from error
    if context is None:
        raise BadInput(f"{scheduler.address} needs certificates", "--tls-ca or --tls-cert is not given", advice)
    return security
