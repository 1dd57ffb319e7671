"""The connection to a Dask scheduler, and questions to single workers through it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pydantic import ValidationError

from bench.fleet import dask_worker
from bench.fleet.address import Scheduler
from bench.fleet.device import OTHER_CODE
from bench.fleet.record import DeviceRecord, DeviceState
from bench.fleet.spec import DeviceFacts, code_version
from export.errors import BadInput, NotPossible

CONNECT_S = 10.0
ANSWER_S = 30.0
"""For a question to a worker, and to the scheduler."""
LOST = (OSError, TimeoutError, CancelledError, asyncio.CancelledError)
"""What a call ends with when the scheduler is gone: Dask's communication errors are of OSError."""


@dataclass
class Worker:
    """A worker that was seen."""

    name: str
    resources: Mapping[str, float]
    facts: DeviceFacts | None = None
    problem: str = ""
    """Why there are no facts."""
    connected: bool = True

    @property
    def state(self) -> tuple[DeviceState, str]:
        """Whether it may get jobs; if not, why."""
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
            kinds=[kind for kind, resource in kinds.items() if self.resources.get(resource, 0) >= 1],
            state=state,
            reason=reason,
            machine=self.facts.machine if self.facts else "",
            environment=self.facts.environment if self.facts else {},
            fingerprint=self.facts.fingerprint if self.facts else "",
        )


@contextmanager
def connected(scheduler: Scheduler) -> Iterator[Any]:
    """Open a ``distributed.Client``; workers finish and keep what they have begun when it closes.

    Raises:
        NotPossible: Dask is not installed, or no scheduler answers.
        BadInput: certificates are missing or cannot be used.
    """
    if find_spec("distributed") is None:
        raise NotPossible(
            "--scheduler needs Dask", "distributed is not installed", "install it: pip install '.[fleet]'"
        )
    from distributed import Client

    security = _security(scheduler)
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            scheduler.address, security=security, timeout=CONNECT_S, set_as_default=False, name="convnextpose-fleet"
        )
    except LOST as error:
        what = f"no scheduler answers at {scheduler.address}"
        raise NotPossible(what, in_a_line(error), "see docs/fleet.md") from error
    try:
        yield client
    finally:
        with suppress(*LOST):
            client.close(timeout=5)


def workers_of(client: Any) -> dict[str, Any]:
    """Return what the scheduler knows of each worker, by its address.

    Raises:
        NotPossible: the scheduler is gone.
    """
    try:
        if client.status != "running":
            raise OSError(f"the connection is {client.status}")
        return dict(client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S)["workers"])
    except LOST as error:
        do = "start it and its workers; then `convnextpose fleet resume` does what is missing"
        raise NotPossible("the scheduler is gone", in_a_line(error), do) from error


def ask(client: Any, address: str, function: Any, *arguments: Any, timeout_s: float = ANSWER_S) -> Any:
    """Return what ``function`` returns on the worker at ``address``.

    Raises:
        Exception: what it raises there, or Dask's own error or TimeoutError if the worker does not answer.
    """
    return client.run(function, *arguments, workers=[address], callback_timeout=timeout_s)[address]


def greet(client: Any, about: Mapping[str, Any], jobs: Sequence[str]) -> dict[str, Worker]:
    """Ask workers what they are, all at once; ``about`` is what the scheduler knows of them."""

    def one(address: str) -> Worker:
        worker = Worker(str(about[address]["name"]), dict(about[address]["resources"]))
        try:
            facts = DeviceFacts.model_validate_json(ask(client, address, dask_worker.hello, list(jobs)))
            update = {"worker": worker.name, "resources": dict(worker.resources)}
            worker.facts = facts.model_copy(update=update)
        except TimeoutError:
            worker.problem = f"it did not answer within {ANSWER_S:g} s"
        except ValidationError as error:
            worker.problem = f"it answers in another form ({error.error_count()} mistakes)"
        except Exception as error:  # Dask promises nothing narrower, and the worker may be another program
            worker.problem = f"it did not answer ({in_a_line(error)})"
        return worker

    with ThreadPoolExecutor(max(1, len(about))) as pool:  # one that hangs delays no other
        return dict(zip(about, pool.map(one, about), strict=True))


def _security(scheduler: Scheduler) -> Any:
    """Return the TLS settings for the scheduler; None for a plain connection.

    Raises:
        BadInput: certificates are missing or cannot be used.
    """
    from distributed.security import Security

    if not scheduler.address.startswith(("tls://", "wss://")):
        return None
    files = scheduler.certificates
    given = {"tls_ca_file": files.ca, "tls_client_cert": files.cert, "tls_client_key": files.key}
    options = {name: str(path) for name, path in given.items() if path is not None}
    security: Any = Security(require_encryption=True, **options)  # type: ignore[no-untyped-call]
    needed = {"--tls-ca": security.tls_ca_file, "--tls-cert": security.tls_client_cert}
    if missing := [option for option, value in needed.items() if not value]:
        do = "make them as docs/fleet.md shows; or name them in Dask's configuration"
        raise BadInput(f"{scheduler.address} needs certificates", f"not given: {', '.join(missing)}", do)
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        do = "see docs/fleet.md for how they are made"
        raise BadInput("the certificates cannot be used", str(error), do) from error
    return security


def in_a_line(error: BaseException) -> str:
    """Return its kind and the beginning of its text."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def survey(scheduler: Scheduler) -> tuple[list[DeviceFacts], list[str]]:
    """Ask all workers what they are; return them by name, and a line for each that does not answer.

    Raises:
        NotPossible, BadInput: see ``connected``.
    """
    with connected(scheduler) as client:
        workers = greet(client, workers_of(client), [])
    named = sorted(workers.values(), key=lambda worker: worker.name)
    return [w.facts for w in named if w.facts], [f"{w.name}: {w.problem}" for w in named if not w.facts]
