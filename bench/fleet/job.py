"""The process that carries out one job: ``python -m bench.fleet.job STATE FOLDER PARENT``.

It reports progress on stdout, a line of JSON at a time; what libraries print goes to the log.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from bench.fleet.blobs import BlobCache
from bench.fleet.child import MADE, SPEC
from bench.fleet.spec import BenchOptions, JobSpec, code_on_disk, sha256_json
from bench.harness.accelerators import lock_accelerators
from bench.harness.worker import die_with_parent
from export.common.errors import BadInput, Failure
from export.common.progress import Progress, StepObserver, no_progress

Say = Callable[..., None]


class ProgressObserver(StepObserver):
    """An observer whose lines go to the worker that holds this process."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def up_to_date(self, step: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        self._say(text=f"{step} is up to date")

    def begin(self, step: str, reason: str) -> Progress:
        """See ``export.common.progress.StepObserver``."""
        self._say(text=f"{step} ({reason})")
        return no_progress

    def waiting(self, folder: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        self._say(text="waiting: another job uses the same export")


def main(state: Path, folder: Path, channel: TextIO) -> int:
    """Carry out the specification in ``folder``; return 0, or the exit code of the failure."""

    def say(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    def waiting(name: str, holder: str) -> None:
        text = f"waiting for the accelerator: something else is measured on {name}"
        say(text=f"{text}, by {holder.partition(',')[0]}" if holder else text)

    spec = JobSpec.model_validate_json((folder / SPEC).read_bytes())
    shutil.rmtree(folder / MADE, ignore_errors=True)
    try:
        require_same_code(spec)
        with lock_accelerators(spec.runtimes, spec.bench.reference, waiting):
            say(begun=True, text="preparing")
            engines = measure(state, folder / MADE, spec, say)
            require_same_code(spec)
            say(engines=engines)
    except Failure as failure:
        say(failed=str(failure))
        return failure.exit_code
    return 0


def require_same_code(spec: JobSpec) -> None:
    """Compare the code on the disk, which this process runs, with the client's; before the job and after it.

    Raises:
        BadInput: they differ.
    """
    if (found := code_on_disk()) != spec.code:
        seen = f"code {found[:12]}…, asked for {spec.code[:12]}…"
        do = "install the same commit there, and restart its worker"
        raise BadInput("this device has another version of this project", seen, do)


def measure(state: Path, made: Path, spec: JobSpec, say: Say) -> list[str]:
    """Put the export together, build its engines and measure; return a line for each engine."""
    from bench.fleet.engines import with_engines
    from bench.harness.benchmark import benchmark
    from bench.results.result import RESULT
    from bench.sessions.exported import read_export
    from export.common.errors import Inconclusive
    from export.pipeline.manifest import write_manifest
    from export.pipeline.steps import Folder

    blobs = BlobCache(state / "blobs")
    place = Folder(state / "exports" / sha256_json(spec.files), ProgressObserver(say))
    with place.held():
        for name, digest in spec.files.items():
            blobs.place(digest, place.path / name)
        exported, engines = with_engines(place, read_export(place.path), spec)

        def progress(text: str, share: float | None = None) -> None:
            say(text=text + (f" {share:.0%}" if share is not None else ""))

        out = made / "bench"
        result = benchmark(exported, benchmark_request(spec), out, progress)
        if not result.complete:
            raise Inconclusive("the benchmark was interrupted", f"{result.rounds} rounds were measured", "run it again")
    shutil.rmtree(out / "cache", ignore_errors=True)
    assert (out / RESULT).is_file()
    write_manifest(made, exported.manifest)
    return engines


def benchmark_request(spec: JobSpec) -> Any:
    """Return the specification as ``bench.harness.benchmark`` takes it, on this machine."""
    from bench.harness.benchmark import DEADLINES_MS, PUBLISH_MODE, QUICK_MODE, Options
    from bench.machine.system import usable_cores

    options: BenchOptions = spec.bench
    return Options(
        mode=PUBLISH_MODE if options.mode == "publish" else QUICK_MODE,
        runtimes=spec.runtimes,
        precisions=spec.precisions,
        threads=options.threads or usable_cores(),
        half_width=options.half_width,
        budget_s=options.budget_s,
        deadlines_ms=options.deadlines_ms or DEADLINES_MS,
        seed=options.seed,
        throughput=options.throughput,
        profile=options.profile,
        energy=options.energy,
        reference=options.reference,
        graph=options.cuda_graph,
    )


def start() -> int:
    """Exit with the parent process; reserve stdout for JSON."""
    state, folder, parent = sys.argv[1:]
    die_with_parent(int(parent))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        return main(Path(state), Path(folder), channel)


if __name__ == "__main__":
    sys.exit(start())
