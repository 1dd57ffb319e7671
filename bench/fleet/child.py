"""The process of one job, as the worker holds it: a crash or a deadline ends that process and not the worker."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bench.fleet.spec import JobSpec
from export.common.files import PROJECT, write_text

COMMAND: tuple[str, ...] = (sys.executable, "-X", "faulthandler", "-m", "bench.fleet.job")
DASK_SETS = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that a Dask nanny sets and a job must not inherit: they change threads and the allocator."""
SPEC, LOG, MADE = "spec.json", "log.txt", "result"
REASON_LENGTH = 300
WAITING_DEADLINES = 8
"""Before it begins, a job may wait for the accelerator as long as this many jobs like it may take."""
EXIT_S = 10.0
"""For unloading runtimes, once the result is written."""


class ChildFailed(Exception):
    """The job has no result; the text says why."""


def run_child(state: Path, folder: Path, spec: JobSpec, on_progress: Callable[[str], None]) -> tuple[str, ...]:
    """Run ``spec`` in ``folder`` with files from ``state``; its result is in ``folder / MADE`` then.

    Returns:
        What was built, or why not: a line for each engine.

    Raises:
        ChildFailed: it ended without a result, or was killed at its deadline.
    """
    write_text(folder / SPEC, spec.model_dump_json(indent=2) + "\n")
    with (folder / LOG).open("wb") as log, _process(state, folder, log.fileno()) as child:
        deadline = _Deadline(child.pid)
        deadline.set(WAITING_DEADLINES * spec.deadline_s, "it did not begin")
        try:
            message = _read(child, spec, deadline, on_progress)
            if "engines" in message:  # its last word, when all is written
                with suppress(subprocess.TimeoutExpired):
                    child.wait(EXIT_S)
                return tuple(map(str, message["engines"]))  # type: ignore[call-overload]
            code = child.wait()
        finally:
            deadline.cancel()
    raise ChildFailed(deadline.passed or str(message.get("failed") or _last_words(code, folder / LOG)))


def _read(
    child: "subprocess.Popen[str]", spec: JobSpec, deadline: "_Deadline", on_progress: Callable[[str], None]
) -> dict[str, object]:
    """Read the child's lines of JSON up to its result or its end; return the last one."""
    assert child.stdout is not None
    message: dict[str, object] = {}
    for line in child.stdout:
        message = json.loads(line)
        if "engines" in message:
            break
        if message.get("begun"):
            deadline.set(spec.deadline_s, "it was not done")
        on_progress(str(message.get("text", "")))
    return message


class _Deadline:
    """Kills the child's session when its time is up."""

    def __init__(self, session: int) -> None:
        self.passed = ""
        self._session, self._timer = session, threading.Timer(0, lambda: None)

    def set(self, seconds: float, reason: str) -> None:
        self.cancel()
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._kill, (seconds, reason))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()

    def _kill(self, seconds: float, reason: str) -> None:
        self.passed = f"{reason} within {seconds:g} s, and was killed"
        _kill_session(self._session)


@contextmanager
def _process(state: Path, folder: Path, log: int) -> Iterator["subprocess.Popen[str]"]:
    """Start the child in a session of its own; whatever is left of the session afterwards is killed."""
    environment = {name: value for name, value in os.environ.items() if name not in DASK_SETS}
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
    """Kill all processes of a session, and wait for their end: a benchmark's workers are in groups of their own."""
    killed = []
    for process in psutil.process_iter() if hasattr(os, "getsid") else ():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                process.kill()
                killed.append(process)
    psutil.wait_procs(killed, timeout=1)


def _last_words(code: int, log: Path) -> str:
    """Return how it ended, with the last line of its log."""
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"it ended with {how}" + (f" ({lines[-1][:REASON_LENGTH]})" if lines else "")
