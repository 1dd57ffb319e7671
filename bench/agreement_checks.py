"""The harness against other tools' timers, on a real exported file: each in one process, around one loaded model."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.agreement import BUDGET_S, TOLERANCE, Agreement, compare_timers
from bench.backends.protocol import Backend
from bench.benchmark import IMAGES, QUICK_MODE
from bench.exported import ONNX_RUNTIME, OPENVINO, ExportFolder, open_backend
from bench.selftest import Finding, Outcome
from bench.timed_parity import ParityJudge
from bench.timers import P50, P90, BenchmarkApp, LoadGen, OurPercentiles
from bench.worker import DEVICE, HOST_E2E, Job, Subject, one_by_one
from export.errors import NotPossible
from export.progress import Progress, silent

OUTCOMES: dict[str, Outcome] = {"agree": "pass", "disagree": "fail", "inconclusive": "inconclusive"}
BENCHMARK_APP, LOADGEN = "OpenVINO benchmark_app", "MLPerf LoadGen"
WARM_UP = QUICK_MODE.warm_up
WANTED = f"within {TOLERANCE:.0%}"


def agreement_checks(
    exported: ExportFolder, *, threads: int = 1, budget_s: float = BUDGET_S, progress: Progress = silent
) -> Iterator[Finding]:
    """Each tool in turn; a tool that is not installed is ``not run``.

    Args:
        exported: its FP32 file is timed.
        threads: of the runtime. One leaves the machine's other work a core, where there are two.
        budget_s: for each tool.
        progress: is told the round.
    """
    for tool, module, check in CHECKS:
        told = partial(_told, progress, tool)
        try:
            import_module(module)
            yield from check(exported, threads, budget_s, told)
        except (ImportError, NotPossible) as error:
            reason = f"{error.what}: {error.seen}" if isinstance(error, NotPossible) else str(error)
            yield Finding(tool, f"not run: {reason}", WANTED, "not run")


def with_benchmark_app(exported: ExportFolder, threads: int, budget_s: float, progress: Progress) -> Iterator[Finding]:
    """OpenVINO's own loop around our compiled model; the boundary is ``device``, ``request.latency``."""
    backend, inputs, subject, latency_ms = _loaded(exported, OPENVINO, threads)
    app = BenchmarkApp(backend, inputs)
    for found in compare_timers(subject, app, (DEVICE,), latency_ms, budget_s=budget_s, progress=progress):
        yield finding(f"{BENCHMARK_APP}, median", found, DEVICE)


def with_loadgen(exported: ExportFolder, threads: int, budget_s: float, progress: Progress) -> Iterator[Finding]:
    """LoadGen's SingleStream around our ONNX Runtime session; see ``LoadGen`` for the boundary."""
    backend, inputs, subject, latency_ms = _loaded(exported, ONNX_RUNTIME, threads)
    loadgen, ours = LoadGen([partial(backend.run, images) for images in inputs]), OurPercentiles(subject)
    added = {"added_ms": loadgen.added_ms()}
    for found in compare_timers(ours, loadgen, (P50, P90), latency_ms, budget_s=budget_s, progress=progress):
        yield finding(f"{LOADGEN}, {found.figure}", found, HOST_E2E, added)


CHECKS = (
    (BENCHMARK_APP, "openvino.tools.benchmark.benchmark", with_benchmark_app),
    (LOADGEN, "mlperf_loadgen", with_loadgen),
)


def finding(check: str, found: Agreement, boundary: str, more: dict[str, Any] | None = None) -> Finding:
    """As the table has it."""
    read = "no interval"
    if found.ratio is not None:
        of = found.ratio
        read = f"{of.median:.4f} [{of.low:.4f}, {of.high:.4f}] times our {boundary}, {of.rounds} rounds"
    figures = {"boundary": boundary, **found.as_json(), **(more or {})}
    if "added_ms" in figures:
        read += f"; its call alone {figures['added_ms'] * 1e3:.1f} µs"
    return Finding(check, read, WANTED, OUTCOMES[found.outcome], figures)


def _loaded(exported: ExportFolder, runtime: str, threads: int) -> tuple[Any, Sequence[Any], Subject, float]:
    """The backend, its inputs, our harness around it, warm, and about how long a run takes in ms."""
    backend: Backend = open_backend(exported, runtime, "fp32", threads)
    images = ParityJudge(exported).images[:IMAGES]
    with tempfile.TemporaryDirectory(prefix="convnextpose-selftest-") as folder:
        path = Path(folder) / "inputs.npy"
        np.save(path, images)
        subject = Subject(Job(lambda: backend, path))
        subject.load()
    warm = subject.warm_up(WARM_UP)
    return backend, one_by_one(images, takes_pixels=backend.takes_pixels), subject, warm.latency_ms


def _told(progress: Progress, tool: str, text: str, share: float | None = None) -> None:
    progress(f"{tool}: {text}", share)
