"""Build missing engines before the verification, each in a process of its own, since builders crash."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from pose_runtime.bundle import Bundle
from pose_runtime.engine_cache import prepare_cache
from pose_runtime.engines import find_engine
from pose_runtime.runtime.engine_file import TENSORRT, require_recent
from pose_runtime.runtime.errors import BadInput, Failure, NotPossible
from pose_runtime.runtime.gpu import first_gpu
from pose_runtime.runtime.registry import load_library

from pose_verify.table import replace_line

LAST_LINES, MOST_LINES = 20, 10_000
"""Number of lines of a builder's log that the report keeps, and that are searched for its error."""
HEADS = ("error:", "found:", "try:  ")
"""Beginnings of the three lines of an error."""
OUT_OF_MEMORY = "the system ends what takes too much memory: close other programs, or build with --workspace-mib 256"


class FailedBuild(NamedTuple):
    """A build that was tried, and gave no engine: values of a row of the report."""

    status: str
    """``fail``; ``not run`` where the builder says that it is not possible on this device."""
    reason: str
    build_log: list[str]
    """The builder's last lines."""


def build_missing(bundle: Bundle, runtimes: Iterable[str], precisions: Iterable[str]) -> dict[str, FailedBuild]:
    """Build engines with TensorRT where it is installed, a GPU answers, and none fits; return the failed builds.

    Where no build can be tried, loading the engine later gives the reason.
    """
    failed: dict[str, FailedBuild] = {}
    if TENSORRT.module not in runtimes:
        return failed
    try:
        version = str(load_library(TENSORRT.module).__version__)
        require_recent(TENSORRT, version)
        gpu = first_gpu()
    except Failure:
        return failed
    for precision in precisions:
        try:
            find_engine(bundle, TENSORRT, precision, version, gpu)
        except NotPossible:
            if build := failed_build(bundle, precision):
                failed[precision] = build
        except Failure:
            continue  # an engine that was changed is reported, not replaced
    return failed


def failed_build(bundle: Bundle, precision: str) -> FailedBuild | None:
    """Build an engine where it can be stored; return why there is none, or None."""
    try:
        prepare_cache()
    except (BadInput, NotPossible) as lack:
        return FailedBuild("not run", f"no engine could be stored: {lack}", [])
    exit_code, log = run_builder(bundle, precision)
    if exit_code == 0:
        return None
    status = "not run" if exit_code == NotPossible.exit_code else "fail"
    return FailedBuild(status, f"no engine could be built: {describe_end(exit_code, log)}", log[-LAST_LINES:])


def run_builder(bundle: Bundle, precision: str) -> tuple[int, list[str]]:
    """Run ``build.py`` and pass its output on; return its exit code and its log."""
    command = [sys.executable, *interpreter_flags(), str(bundle.folder / "build.py")]
    command += ["--runtime", TENSORRT.module, "--precision", precision]
    log: deque[str] = deque(maxlen=MOST_LINES)
    replace_line("")
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return NotPossible.exit_code, [str(error)]
    with child:
        assert child.stdout is not None
        for raw in child.stdout:
            line = raw.decode(errors="replace").rstrip()
            log.append(line)
            print(line, file=sys.stderr, flush=True)
    return child.returncode, list(log)


def interpreter_flags() -> list[str]:
    """Return this Python's isolation flags for a child: with stricter ones it would not find a user's packages."""
    if sys.flags.isolated:
        return ["-I"]
    return ["-E"] if sys.flags.ignore_environment else []


def describe_end(exit_code: int, log: list[str]) -> str:
    """Return the builder's own error in a line, or else its exit code or signal and its last line."""
    starts = [index for index, line in enumerate(log) if line.startswith(HEADS[0])]
    if starts:
        parts = [line.partition(":")[2].strip() if line[:6] in HEADS else line for line in log[starts[-1] :]]
        return " — ".join(parts)
    last = next((line for line in reversed(log) if line.strip()), "no output")
    if exit_code >= 0:
        return f"build.py ended with exit code {exit_code} — {last}"
    killed = exit_code == -int(getattr(signal, "SIGKILL", 9))
    return f"build.py was ended by signal {-exit_code} — {last} — {OUT_OF_MEMORY if killed else 'see the log'}"
