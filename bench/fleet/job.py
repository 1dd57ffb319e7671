"""The process that does one job: ``python -m bench.fleet.job STATE FOLDER PARENT``.

It reports on stdout, one JSON object per line; the output of libraries goes to the log.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from bench.fleet.blobs import BlobCache
from bench.fleet.child import RESULT, SPEC
from bench.fleet.spec import JobSpec, code_on_disk, sha256_json
from bench.harness.accelerators import lock_accelerators
from bench.harness.worker import die_with_parent
from export.common.errors import BadInput, Failure, Inconclusive
from export.common.progress import Progress, StepObserver, no_progress

PROGRESS_EVERY_S = 10.0
"""Interval of progress reports: this machine is being measured."""

Send = Callable[..., None]
"""Sends its keyword arguments to the worker."""


class ReportingObserver(StepObserver):
    """An observer that reports each step to the worker."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def begin(self, step: str, reason: str) -> Progress:
        """See ``export.common.progress.StepObserver``."""
        self._send(text=f"{step} ({reason})")
        return no_progress

    def waiting(self, folder: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        self._send(text="waiting: another job uses the same export")


def main(state: Path, folder: Path, channel: TextIO) -> int:
    """Do the job in ``folder``; return 0, or the exit code of the failure."""

    def send(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    def waiting(name: str, holder: str) -> None:
        text = f"waiting for the accelerator: something else is measured on {name}"
        send(text=f"{text}, by {holder.partition(',')[0]}" if holder else text)

    spec = JobSpec.model_validate_json((folder / SPEC).read_bytes())
    shutil.rmtree(folder / RESULT, ignore_errors=True)
    try:
        require_same_code(spec)
        with lock_accelerators(spec.runtimes, spec.bench.reference, waiting):
            send(begun=True, text="preparing")
            engines = measure(state, folder / RESULT, spec, send)
            require_same_code(spec)
            send(engines=engines)
    except Failure as failure:
        send(failed=str(failure))
        return failure.exit_code
    return 0


def require_same_code(spec: JobSpec) -> None:
    """Compare the code on the disk, which this process runs, with the client's.

    Raises:
        BadInput: they differ.
    """
    if (code := code_on_disk()) != spec.code:
        value = f"code {code[:12]}…, the client has {spec.code[:12]}…"
        advice = "install the same commit there, and restart its worker"
        raise BadInput("this device has another version of this project", value, advice)


def measure(state: Path, result_folder: Path, spec: JobSpec, send: Send) -> list[str]:
    """Assemble the export, build its engines, and measure; return a line for each engine."""
    from bench.fleet.engines import with_engines
    from bench.harness.benchmark import benchmark
    from bench.sessions.exported import read_export
    from export.pipeline.manifest import write_manifest
    from export.pipeline.steps import Folder

    blobs, last = BlobCache(state / "blobs"), float("-inf")

    def progress(text: str, share: float | None = None) -> None:
        nonlocal last
        if time.monotonic() >= last + PROGRESS_EVERY_S:
            last = time.monotonic()
            send(text=text + (f" {share:.0%}" if share is not None else ""))

    place, out = Folder(state / "exports" / sha256_json(spec.files), ReportingObserver(send)), result_folder / "bench"
    with place.locked():
        for name, digest in spec.files.items():
            blobs.place(digest, place.path / name)
        exported, engines = with_engines(place, read_export(place.path), spec)
        result = benchmark(exported, spec.bench, out, spec.runtimes, spec.precisions, progress=progress)
        if not result.complete:
            raise Inconclusive("the benchmark was interrupted", f"{result.rounds} rounds were measured", "run it again")
    shutil.rmtree(out / "cache", ignore_errors=True)
    write_manifest(result_folder, exported.manifest)
    return engines


def start() -> int:
    """Exit with the parent process; reserve stdout for JSON."""
    state, folder, parent = sys.argv[1:]
    die_with_parent(int(parent))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        return main(Path(state), Path(folder), channel)


if __name__ == "__main__":
    sys.exit(start())
