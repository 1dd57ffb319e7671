"""Latency table at the end of an export: the PyTorch reference beside the exported file, on this machine's CPU.

It is a short benchmark with two rows: a worker process for each, parity of the session that is timed, warm-up, rounds
in random order. It has no control and so no quality; a speed-up with a wide interval is not shown.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from bench.machine.system import machine
from bench.results.record import Record
from bench.sessions.exported import PYTORCH, ExportFolder, read_export, usual_runtime
from export.common.files import write_json
from export.common.progress import Progress, StepObserver
from export.common.records import peek
from export.pipeline.layout import STEP_RECORDS
from export.pipeline.run import Export
from export.pipeline.steps import Folder, Step
from export.runtime.processor import default_threads

if TYPE_CHECKING:
    from bench.harness.candidates import Candidate
    from bench.harness.measurements import Measurements
    from bench.stats.statistics import Ratio

REPORT = "latency.json"
TIMED = ("fp32", "fp16", "int8", "bf16")
"""The first of these precisions with a passed parity is timed."""
IMAGES = 8
BUDGET_S = 10.0
"""For the rounds; L needs 9 s for six rounds on two busy cores, and an interval needs at least six rounds."""
WIDEST = 1.5
"""Largest ratio of the ends of a speed-up's interval; with a wider one the speed-up is not shown."""


class LatencyRow(Record):
    """Row of one of the two sessions."""

    runtime: str
    precision: str
    precision_used: str | None
    """Precision of the convolutions; null if the runtime does not report it."""
    threads: int
    latency_ms: float | None
    """Median of the round medians; null if the table has a reason."""
    speed_up: float | None
    """Over the reference; null for the reference itself."""
    speed_up_low: float | None
    speed_up_high: float | None
    samples_ms: list[list[float]]
    """By round."""


class LatencyTable(Record):
    """``latency.json``."""

    schema_version: Literal["1.1"] = "1.1"
    boundary: Literal["host_e2e"] = "host_e2e"
    batch: int = 1
    protocol: str
    machine: Mapping[str, str | int | float]
    reason: str | None
    """Reason why the rows have no figures."""
    rows: list[LatencyRow]


def latency_table(export: Export, observer: StepObserver) -> LatencyTable | None:
    """Time the reference and the first file that passed its parity, unless that is up to date.

    Args:
        export: result of ``run_export``; after a dry run, only report what would run.
        observer: receives the progress.

    Returns:
        The table; None if no file passed, or after a dry run.
    """
    results = export.results
    precision = next((precision for precision in TIMED if results.passed(precision)), None)
    if precision is None:
        return None

    def work(folder: Path, progress: Progress) -> LatencyTable:
        table = measure(read_export(export.folder), precision, progress)
        write_json(folder / REPORT, table.model_dump())
        return table

    options = {"budget_s": BUDGET_S, "machine": machine(), "precision": precision}
    inputs = {**results.weights.outputs, **results.onnx[precision].outputs}
    tools = ("torch", "onnxruntime-gpu", "onnxruntime", "openvino")
    step = Step("latency", (REPORT,), inputs, options, tools, code=("bench", "export"), in_manifest=False)
    folder = Folder(export.folder, observer, dry_run=export.manifest is None)
    with folder.locked():
        _remove_table_without_figures(export)
        return folder.perform(step, work, LatencyTable).value


def _remove_table_without_figures(export: Export) -> None:
    """Remove the record of a table without figures, so that it is measured again: the machine may be quiet now."""
    record = export.folder / STEP_RECORDS / "latency.json"
    result = peek(record, "result")
    if export.manifest is not None and isinstance(result, dict) and result.get("reason"):
        record.unlink()


def measure(exported: ExportFolder, precision: str, progress: Progress) -> LatencyTable:
    """Measure the reference and the file of this precision side by side.

    Raises:
        KeyboardInterrupt: the run was interrupted; its rounds are not kept.
    """
    from bench.harness.candidates import Candidate
    from bench.harness.measure import measure_workloads
    from bench.harness.parity_check import ParityCheck
    from bench.harness.settings import Settings
    from bench.stats.steadiness import WarmUpRule
    from bench.stats.stopping import StopRule

    threads, parity = default_threads(), ParityCheck(exported)
    reference = Candidate(PYTORCH, "fp32", threads)
    candidate = Candidate(usual_runtime(precision), precision, threads, exported.onnx(precision))
    rule = StopRule(half_width=0.1, budget_s=BUDGET_S, quantile=0.5, first_look=6)
    warm_up = WarmUpRule(minimum_s=0.3, cap_s=2.0, window_iterations=3, window_s=0.05)
    measurements = measure_workloads(
        [reference.workload(exported), candidate.workload(exported)],
        reference.id,
        parity.images[:IMAGES],
        lambda workload, joints: parity(workload.precision, joints),
        Settings(threads, rule, warm_up, parity_images=IMAGES),
        progress=progress,
    )
    if not measurements.complete:
        raise KeyboardInterrupt
    return table_of(measurements, reference, candidate)


def table_of(measurements: "Measurements", reference: "Candidate", candidate: "Candidate") -> LatencyTable:
    """Return the table with the figures that the rounds allow."""
    rounds = measurements.rounds
    ratio = rounds.ratio(reference.id, candidate.id)
    reason = _reason_for_no_figures(measurements, ratio)
    rows = []
    for side in (reference, candidate):
        loaded, speed_up = measurements.records[side.id].loaded, None if side is reference or reason else ratio
        rows.append(
            LatencyRow(
                runtime=side.runtime,
                precision=side.precision,
                precision_used=loaded.facts.get("precision_used") if loaded else None,
                threads=side.threads,
                latency_ms=None if reason else median(rounds.round_medians_ms(side.id).values()),
                speed_up=speed_up.median if speed_up else None,
                speed_up_low=speed_up.low if speed_up else None,
                speed_up_high=speed_up.high if speed_up else None,
                samples_ms=[block.samples_ms["host_e2e"] for block in rounds.blocks[side.id]],
            )
        )
    order = f"{rounds.completed} rounds in random order, one process each, the other one stopped"
    protocol = f"{order}; 95 % interval of the median round ratio"
    return LatencyTable(protocol=protocol, machine=machine(), reason=reason, rows=rows)


def _reason_for_no_figures(measurements: "Measurements", ratio: "Ratio | None") -> str | None:
    """Return why the table has no figures; None if it has."""
    records = measurements.records.items()
    faults = [f"{name}: {fault}" for name, r in records for fault in (*r.faults, r.not_possible) if fault]
    if faults:
        return "; ".join(faults)
    if ratio is None:
        return f"{measurements.rounds.completed} rounds in {BUDGET_S:g} s are too few for an interval"
    if not ratio.high <= WIDEST * ratio.low:
        return f"the machine was too busy: the speed-up lies between {ratio.low:.2g} and {ratio.high:.2g}"
    return None
