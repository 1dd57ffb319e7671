"""The connection to a Dask scheduler, and calls of functions on single workers through it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from bench.fleet.address import Scheduler
from export.common.errors import BadInput, NotPossible

CONNECT_S = 10.0
ANSWER_S = 30.0
"""For a question to a worker, and to the scheduler."""
LOST = (OSError, TimeoutError, CancelledError, asyncio.CancelledError)
"""Exceptions of a call to a scheduler that is gone; Dask's communication errors are subclasses of OSError."""


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
        raise NotPossible(what, in_a_line(error), "see docs/how-to/fleet.md") from error
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


def ask(client: Any, address: str, function: Any, *arguments: Any) -> Any:
    """Return what ``function`` returns on the worker at ``address``.

    Raises:
        Exception: what it raises there, or Dask's own error or TimeoutError if the worker does not answer.
    """
    return client.run(function, *arguments, workers=[address], callback_timeout=ANSWER_S)[address]


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
        do = "make them as docs/how-to/fleet.md shows; or name them in Dask's configuration"
        raise BadInput(f"{scheduler.address} needs certificates", f"not given: {', '.join(missing)}", do)
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        do = "see docs/how-to/fleet.md for how they are made"
        raise BadInput("the certificates cannot be used", str(error), do) from error
    return security


def in_a_line(error: BaseException) -> str:
    """Return its kind and the beginning of its text."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
