"""Building the engines that are missing, before anything is proven: in processes of their own, since builders crash."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pose_runtime.bundle import Bundle
from pose_runtime.engines import find_engine
from pose_runtime.runtime.engine_file import TENSORRT, require_recent
from pose_runtime.runtime.errors import Failure, NotPossible
from pose_runtime.runtime.gpu import first_gpu
from pose_runtime.runtime.registry import installed

LAST_LINES, MOST_LINES = 20, 10_000
"""How much of a builder's log the report keeps, and in how much of it its error is looked for."""
HEADS = ("error:", "found:", "try:  ")
"""Of an error's three lines."""
OUT_OF_MEMORY = "the system ends what takes too much memory: close other programs, or build with --workspace-mib 256"


class FailedBuild(NamedTuple):
    """A build that was tried, and gave no engine."""

    status: str
    """``fail``; ``not run`` where the builder says that it is not possible on this device."""
    reason: str
    log: list[str]
    """The builder's last lines."""


def build_missing(
    bundle: Bundle, folder: Path, runtimes: Iterable[str], precisions: Iterable[str]
) -> dict[str, FailedBuild]:
    """Build engines of TensorRT where it is installed, a GPU answers, and none fits; precision → a build that failed.

    Where nothing can be tried, the row of that precision says why when its engine is loaded.
    """
    failed: dict[str, FailedBuild] = {}
    if TENSORRT.module not in runtimes or not installed(TENSORRT.module):
        return failed
    try:
        import tensorrt

        require_recent(TENSORRT, str(tensorrt.__version__))
        gpu = first_gpu()
    except (Failure, ImportError, OSError):
        return failed
    for precision in precisions:
        try:
            find_engine(bundle, TENSORRT, precision, str(tensorrt.__version__), gpu)
        except NotPossible:
            exit_code, log = run_builder(folder, precision)
            if exit_code != 0:
                status = "not run" if exit_code == NotPossible.exit_code else "fail"
                reason = f"no engine could be built: {in_words(exit_code, log)}"
                failed[precision] = FailedBuild(status, reason, log[-LAST_LINES:])
        except Failure:
            continue  # an engine that was changed is not built over, but told
    return failed


def run_builder(folder: Path, precision: str) -> tuple[int, list[str]]:
    """Run ``build.py`` and pass on what it says; returns its exit code and its log."""
    command = [sys.executable, *own_flags(), str(folder / "build.py")]
    command += ["--runtime", TENSORRT.module, "--precision", precision]
    log: deque[str] = deque(maxlen=MOST_LINES)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
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


def own_flags() -> list[str]:
    """What this Python was told to leave alone, for a child: with more, it would not find the packages of a user."""
    if sys.flags.isolated:
        return ["-I"]
    return ["-E"] if sys.flags.ignore_environment else []


def in_words(exit_code: int, log: list[str]) -> str:
    """The builder's own error in a line, or how it ended and the last that it said."""
    begins = [index for index, line in enumerate(log) if line.startswith("error:")]
    if begins:
        parts = [line.partition(":")[2].strip() if line[:6] in HEADS else line for line in log[begins[-1] :]]
        return " — ".join(parts)
    last = next((line for line in reversed(log) if line.strip()), "it said nothing")
    if exit_code >= 0:
        return f"build.py ended with exit code {exit_code} — {last}"
    killed = exit_code == -int(getattr(signal, "SIGKILL", 9))
    return f"build.py was ended by signal {-exit_code} — {last} — {OUT_OF_MEMORY if killed else 'see the log'}"
