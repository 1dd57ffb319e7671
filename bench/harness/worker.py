"""Main function of a worker process, in which one session is timed: it answers the coordinator's calls.

The coordinator sets thread counts in the environment before the process starts, since libraries read them when loaded.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.harness.timed_model import NotFinite, TimedModel
from bench.harness.workload import Workload
from export.common.errors import NotPossible

INTERRUPTS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that end the whole run; only the coordinator handles them."""
PR_SET_PDEATHSIG = 1


def serve(connection: Connection, workload: Workload, inputs: Path, log: Path, coordinator: int) -> None:
    """Answer requests ``(number, method, arguments)`` until the pipe is closed; this is the process's main function."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    leave_group()
    die_with_parent(coordinator)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    model = TimedModel(workload, inputs)
    while True:
        try:
            number, method, arguments = connection.recv()
        except EOFError:
            return
        connection.send((number, *_answer(model, method, arguments)))


def _answer(model: TimedModel, method: str, arguments: Sequence[Any]) -> tuple[str, Any]:
    """Return ``ok`` and the method's result, or the kind of failure and its reason."""
    try:
        return "ok", getattr(model, method)(*arguments)
    except NotPossible as failure:
        return "not possible", f"{failure.problem}: {failure.detail}"
    except MemoryError:
        return "failed", "out of memory"
    except NotFinite as failure:
        return "failed", str(failure)
    except Exception as failure:  # whatever a runtime throws becomes a row with its reason
        lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
        return "failed", f"{type(failure).__name__}: {lines[0] if lines else 'no message'}"[:300]


def leave_group() -> None:
    """Move this process into a process group of its own, where there are groups.

    A worker is stopped most of the time. An orphaned process group with a stopped process gets SIGHUP (POSIX.1-2017,
    ``_exit``): a shell that started the run in the background would end it by exiting.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process, even if stopped, when its parent ends. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)
