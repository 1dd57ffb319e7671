"""The process of one job, started and watched by the worker: a crash or a deadline ends it, and not the worker."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from bench.fleet.spec import JobSpec
from export.common.files import PROJECT, write_text

COMMAND: tuple[str, ...] = (sys.executable, "-X", "faulthandler", "-m", "bench.fleet.job")
NANNY_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Set by a Dask nanny; a job must not inherit them, because they change threads and the allocator."""
SPEC, LOG, RESULT = "spec.json", "log.txt", "result"
REASON_LENGTH = 300
WAITING_DEADLINES = 8
"""A job may wait for the accelerator for this many times its deadline."""
EXIT_S = 10.0
"""Time to unload runtimes after the result is written."""


class ChildFailed(Exception):
    """The job has no result; the text gives the reason."""


def run_child(state: Path, folder: Path, spec: JobSpec, on_progress: Callable[[str], None]) -> tuple[str, ...]:
    """Run ``spec`` in ``folder`` with files from ``state``; its result is ``folder / RESULT``.

    Returns:
        A line for each engine: built, or why not.

    Raises:
        ChildFailed: it ended without a result, or was killed at its deadline.
    """
    write_text(folder / SPEC, spec.model_dump_json(indent=2) + "\n")
    message, killed = dict[str, Any](), list[str]()
    with (folder / LOG).open("wb") as log, _process(state, folder, log.fileno()) as child:
        assert child.stdout is not None
        deadline = _kill_after(WAITING_DEADLINES * spec.deadline_s, child.pid, killed, "it did not begin")
        try:
            for line in child.stdout:
                message = json.loads(line)
                if "engines" in message:  # the last message; everything is written
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(EXIT_S)
                    return tuple(message["engines"])
                if message.get("begun"):
                    deadline.cancel()
                    deadline = _kill_after(spec.deadline_s, child.pid, killed, "it was not done")
                on_progress(message.get("text", ""))
            code = child.wait()
        finally:
            deadline.cancel()
    raise ChildFailed("".join(killed) or message.get("failed") or _exit_reason(code, folder / LOG))


def _kill_after(seconds: float, session: int, killed: list[str], reason: str) -> threading.Timer:
    """Start a timer that kills a process session, and adds the reason to ``killed``."""

    def kill() -> None:
        killed.append(f"{reason} within {seconds:g} s, and was killed")
        _kill_session(session)

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), kill)
    timer.daemon = True
    timer.start()
    return timer


@contextmanager
def _process(state: Path, folder: Path, log: int) -> Iterator["subprocess.Popen[str]"]:
    """Start the job in a session of its own; kill what is left of the session at the end."""
    environment = {name: value for name, value in os.environ.items() if name not in NANNY_VARIABLES}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    child = subprocess.Popen(
        [*COMMAND, str(state), str(folder), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _kill_session(child.pid)
        child.kill()
        child.wait()


def _kill_session(leader: int) -> None:
    """Kill all processes of a session, and wait for their end: a benchmark's workers have their own process groups."""
    killed = []
    for process in psutil.process_iter() if hasattr(os, "getsid") else ():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                process.kill()
                killed.append(process)
    psutil.wait_procs(killed, timeout=1)


def _exit_reason(code: int, log: Path) -> str:
    """Return the exit code or signal, with the last line of the log."""
    exit_ = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"it ended with {exit_}" + (f" ({lines[-1][:REASON_LENGTH]})" if lines else "")
