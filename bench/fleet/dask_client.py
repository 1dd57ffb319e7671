"""The only place that imports Dask on the machine that asks."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from importlib.util import find_spec
from typing import Any

from bench.fleet import dask_task
from bench.fleet.address import Certificates
from bench.fleet.border import Refused, checked_facts
from bench.fleet.delivery import DeviceLost, Undelivered
from bench.fleet.spec import DeviceFacts
from export.errors import BadInput, NotPossible

LOST = (Exception, CancelledError, asyncio.CancelledError)
"""What a call can end with when a worker, the scheduler or the network is gone: Dask promises nothing narrower."""
LOSSES = ("CommClosedError", "RPCClosed", "KilledWorker", "FutureCancelledError", "CancelledError", "TimeoutError")
CONNECT_S, GREETING_S = 10.0, 5.0
ANSWER_S = 30.0
"""For a question that needs no more thought than ``doctor``; a device may be slow, and measure meanwhile."""
READING_S = 120.0
"""For one that makes a device read files: some hundred megabytes from a memory card, or over a slow line."""
BYTES_PER_S = 0.5e6
"""A line that is slower than this counts as broken."""


def connect(address: str, certificates: Certificates, timeout_s: float | None = None) -> Any:
    """A ``distributed.Client``.

    Raises:
        NotPossible: Dask is not installed, or no scheduler answers there.
        BadInput: certificates are missing or cannot be used.
    """
    if find_spec("distributed") is None:
        do = "install it: pip install '.[fleet]'"
        raise NotPossible("--scheduler needs Dask", "distributed is not installed", do)
    from distributed import Client

    given = {"tls_ca_file": certificates.ca, "tls_client_cert": certificates.cert, "tls_client_key": certificates.key}
    security = _security(address, {name: str(path) for name, path in given.items() if path is not None})
    timeout_s = CONNECT_S if timeout_s is None else timeout_s
    options = {"timeout": timeout_s, "set_as_default": False, "name": "convnextpose-fleet"}
    try:
        return _in_time(lambda: Client(address, security=security, **options), timeout_s)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError) as error:
        raise NotPossible(f"no scheduler answers at {address}", in_a_line(error), "see docs/fleet.md") from error


def _in_time(opened: Callable[[], Any], timeout_s: float) -> Any:
    """What ``opened`` returns. Dask's own limit for a connection does not cover what is said then, and a scheduler that
    hangs is connected. A connection that comes too late is closed.

    Raises:
        TimeoutError: it is late.
    """
    made, late = Future[Any](), threading.Event()

    def open_it() -> None:
        try:
            made.set_result(opened())
        except Exception as error:
            made.set_exception(error)
            return
        if late.is_set():
            made.result().close()

    threading.Thread(target=open_it, name="fleet-connect", daemon=True).start()
    try:
        return made.result(timeout_s + GREETING_S)
    except TimeoutError:
        late.set()
        raise


def ask(
    client: Any,
    address: str,
    function: Any,
    *arguments: Any,
    timeout_s: float | None = None,
    late: Callable[[str], None] | None = None,
) -> Any:
    """What ``function`` returns on the worker there.

    Args:
        client: a ``distributed.Client``.
        address: of the worker.
        function: one of ``bench.fleet.dask_task``.
        arguments: for it.
        timeout_s: for the answer; by default ``ANSWER_S``.
        late: is told why, if there is none in time; the answer is then waited for until it comes, or cannot come
            any more, so that a device that hangs is not asked over and over.

    Raises:
        DeviceLost: it does not answer.
        Undelivered: it answers that it cannot.
    """

    async def question() -> Any:
        return await client.run(function, *arguments, workers=[address], on_error="return")

    timeout_s = ANSWER_S if timeout_s is None else timeout_s
    try:
        answers = asyncio.run_coroutine_threadsafe(question(), client.loop.asyncio_loop)
        try:
            answer = answers.result(timeout_s)[address]
        except TimeoutError as error:
            if answers.done():  # the question itself ended so
                raise
            if late is None:
                answers.cancel()
                raise DeviceLost(f"it did not answer within {timeout_s:g} s") from error
            late(f"it did not answer within {timeout_s:g} s")
            answer = answers.result()[address]
    except DeviceLost:
        raise
    except LOST as error:
        raise DeviceLost(f"it did not answer ({in_a_line(error)})") from error
    if is_loss(answer):
        raise DeviceLost(f"it did not answer ({in_a_line(answer)})")
    if isinstance(answer, Exception):
        raise Undelivered(f"{function.__name__} failed on the device: {in_a_line(answer)}")
    return answer


def known_workers(client: Any) -> dict[str, Any]:
    """What the scheduler knows of each worker, by its address.

    Raises:
        TimeoutError: it does not answer, though it is connected; ``LOST`` holds what else there may be.
    """
    if client.status != "running":
        raise OSError(f"the connection is {client.status}")
    identity = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S)
    return dict(identity["workers"])


def greet(
    client: Any,
    address: str,
    about: Mapping[str, Any],
    jobs: list[str],
    late: Callable[[str], None] | None = None,
) -> DeviceFacts:
    """What the worker there is, and which of ``jobs`` it has finished; ``about`` is what its scheduler knows of it.

    Raises:
        DeviceLost, Undelivered: see ``ask``, also for ``late``; or what it answers with is none of ours.
    """
    answer = ask(client, address, dask_task.hello, jobs, late=late)
    known = {"worker": str(about["name"]), "resources": dict(about["resources"])}
    try:
        return checked_facts(answer).model_copy(update=known)
    except Refused as refusal:
        raise Undelivered(str(refusal)) from refusal


def _security(address: str, given: dict[str, str]) -> Any:
    """What a connection to ``address`` is secured with; None for a plain one.

    Raises:
        BadInput: it is to be secured, and there is nothing to do it with.
    """
    from distributed import security as dask_security

    if not address.startswith(("tls://", "wss://")):
        return None
    security: Any = dask_security.Security(require_encryption=True, **given)  # type: ignore[no-untyped-call]
    needed = {"--tls-ca": security.tls_ca_file, "--tls-cert": security.tls_client_cert}
    if missing := [option for option, value in needed.items() if not value]:
        do = "make them as docs/fleet.md shows; or name them in Dask's configuration"
        raise BadInput(f"{address} needs certificates", f"not given: {', '.join(missing)}", do)
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        do = "see docs/fleet.md for how they are made"
        raise BadInput("the certificates cannot be used", str(error), do) from error
    return security


def is_loss(error: Any) -> bool:
    """Whether it is Dask's way to say that a worker is gone, and not something that went wrong in it.

    An ``OSError`` without a number is Dask's own, too: its scheduler could not connect to the worker. One of the
    worker's system, such as of a full disk, has a number.
    """
    if type(error) is OSError:
        return error.errno is None
    return any(kind.__name__ in LOSSES for kind in type(error).__mro__)


def in_a_line(error: BaseException) -> str:
    """Its kind and the beginning of what it says."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
