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

from bench.fleet.spec import JobSpec
from export.artifacts import write_text

COMMAND: tuple[str, ...] = (sys.executable, "-X", "faulthandler", "-m", "bench.fleet.job")
ROOT = Path(__file__).resolve().parents[2]
DASK_SETS = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What a nanny sets for its worker: ``bench`` fixes thread counts itself, and what an allocator is told is measured."""
SPEC, LOG, MADE = "spec.json", "log.txt", "result"
TEXT_LIMIT = 300


class ChildFailed(Exception):
    """The job has come to no result; the text says why, for a reader."""


@dataclass(frozen=True)
class Made:
    """What a job has left in its folder."""

    files: Mapping[str, Path]
    """Path within the result's folder → where it lies."""
    engines: tuple[str, ...]


def carry_out(state: Path, folder: Path, spec: JobSpec, told: Callable[[str], None]) -> Made:
    """Run ``spec`` in ``folder``, with files from ``state``.

    Raises:
        ChildFailed: it ended without a result, or was ended after its deadline.
    """
    write_text(folder / SPEC, spec.model_dump_json(indent=2) + "\n")
    expired, said = threading.Event(), dict[str, object]()
    with (folder / LOG).open("wb") as log, _child(state, folder, log.fileno()) as child:
        timer = threading.Timer(spec.deadline_s, _expire, (child, expired))
        assert child.stdout is not None
        try:
            for line in child.stdout:
                said = json.loads(line)
                told(str(said.get("text", "")))
                if said.get("begun") and not timer.is_alive():
                    timer.start()
        finally:
            timer.cancel()
        code = child.wait()
    if expired.is_set():
        raise ChildFailed(f"it was not done within {spec.deadline_s:g} s, and was ended")
    if code != 0 or "engines" not in said:
        raise ChildFailed(str(said.get("failed") or _last_words(code, folder / LOG)))
    made = folder / MADE
    files = {path.relative_to(made).as_posix(): path for path in sorted(made.rglob("*")) if path.is_file()}
    return Made(files, tuple(map(str, said["engines"])))  # type: ignore[call-overload]


@contextmanager
def _child(state: Path, folder: Path, log: int) -> Iterator[subprocess.Popen[str]]:
    """The process, in a group of its own; whatever is left of the group afterwards is ended."""
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


def _expire(child: subprocess.Popen[str], expired: threading.Event) -> None:
    expired.set()
    _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


def _last_words(code: int, log: Path) -> str:
    """How it ended, with the last line that it wrote."""
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"it ended with {how}" + (f" ({lines[-1][:TEXT_LIMIT]})" if lines else "")
