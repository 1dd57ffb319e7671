"""A job's own process, as the device holds it: with a deadline, and with an end of its own, so that a runtime that
crashes takes nothing but the job with it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import psutil

from bench.fleet.spec import JobSpec, ResultFile
from export.artifacts import write_text

COMMAND: tuple[str, ...] = (sys.executable, "-X", "faulthandler", "-m", "bench.fleet.job")
ROOT = Path(__file__).resolve().parents[2]
DASK_SETS = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What a nanny sets for its worker: ``bench`` fixes thread counts itself, and what an allocator is told is measured."""
SPEC, LOG, MADE = "spec.json", "log.txt", "result"
TEXT_LIMIT = 300

START_S = 180.0
"""From its start until it begins, or says what it waits for: Python, this project and the driver are loaded from a
memory card, perhaps."""
MOST_BEFORE = 8
"""It may wait for the accelerator as long as so many jobs like it take at most: no machine has more workers."""
END_S = 60.0
"""From its result until its end: runtimes are unloaded."""


class ChildFailed(Exception):
    """The job has come to no result; the text says why, for a reader."""


@dataclass(frozen=True)
class Made:
    """What a job has left in its folder."""

    files: Mapping[ResultFile, Path]
    """Path within the result's folder → where it lies."""
    engines: tuple[str, ...]


def carry_out(state: Path, folder: Path, spec: JobSpec, told: Callable[[str], None]) -> Made:
    """Run ``spec`` in ``folder``, with files from ``state``.

    Raises:
        ChildFailed: it ended without a result, or was ended when its time was up.
    """
    write_text(folder / SPEC, spec.model_dump_json(indent=2) + "\n")
    said = dict[str, object]()
    with (folder / LOG).open("wb") as log, _child(state, folder, log.fileno()) as child:
        limit = _Limit(child)
        limit.set(START_S, "it did not begin")
        assert child.stdout is not None
        try:
            for line in child.stdout:
                said = json.loads(line)
                told(str(said.get("text", "")))
                if said.get("waits"):
                    limit.set(MOST_BEFORE * spec.deadline_s, "it waited for the accelerator, which was not free")
                elif said.get("begun"):
                    limit.set(spec.deadline_s, "it was not done")
                elif "engines" in said:
                    limit.set(END_S, "it did not end")
            code = child.wait()
        finally:
            limit.lift()
    if "engines" not in said:  # its last word, when all is written: what comes later cannot spoil that
        raise ChildFailed(limit.passed or str(said.get("failed") or _last_words(code, folder / LOG)))
    made = folder / MADE
    files: dict[ResultFile, Path] = {name: made / name for name in get_args(ResultFile) if (made / name).is_file()}
    return Made(files, tuple(map(str, said["engines"])))  # type: ignore[call-overload]


class _Limit:
    """Ends ``child`` when the time is up for what it does now, and keeps the reason."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.passed = ""
        self._child, self._timer = child, threading.Timer(0, lambda: None)

    def set(self, seconds: float, what: str) -> None:
        """From now on."""
        self.lift()
        self._timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._end, (seconds, what))
        self._timer.daemon = True
        self._timer.start()

    def lift(self) -> None:
        """None from now on."""
        self._timer.cancel()

    def _end(self, seconds: float, what: str) -> None:
        self.passed = f"{what} within {seconds:g} s, and was ended"
        _end(self._child)


@contextmanager
def _child(state: Path, folder: Path, log: int) -> Iterator[subprocess.Popen[str]]:
    """The process, in a session of its own; whatever is left of the session afterwards is ended."""
    environment = {name: value for name, value in os.environ.items() if name not in DASK_SETS}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
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
        _end(child)
        child.wait()


def _end(child: subprocess.Popen[str]) -> None:
    """With all that it has started: its workers are groups of their own, in its session."""
    child.kill()
    for _ in range(3):  # one that was just being started is seen the next time
        if not (left := _session(child.pid)):
            return
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1)


def _session(leader: int) -> list[psutil.Process]:
    """What lives of it. As long as anything does, its number is not given to another (POSIX.1-2017, 4.13)."""
    if not hasattr(os, "getsid"):
        return []
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _last_words(code: int, log: Path) -> str:
    """How it ended, with the last line that it wrote."""
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"it ended with {how}" + (f" ({lines[-1][:TEXT_LIMIT]})" if lines else "")
