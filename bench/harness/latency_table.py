"""The latency table at the end of an export: the PyTorch reference beside the exported file, on this machine's CPU.

It is the benchmark's quick form with two rows: a worker process for each, parity of the very session that is timed,
warming up, rounds in random order. It has no control and so no verdict; a wide speed-up is said to be not known.
"""

import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.machine.system import machine, usable_cores
from bench.results.record import Record
from bench.sessions.exported import ExportFolder, read_export, usual_runtime
from export.common.files import write_json
from export.common.progress import Progress, StepObserver
from export.common.records import peek
from export.pipeline.run import Export
from export.pipeline.steps import RECORDS, Folder, Step

if TYPE_CHECKING:
    from bench.harness.candidates import Candidate
    from bench.harness.run import Session
    from bench.stats.statistics import Ratio

REPORT = "latency.json"
TIMED = ("fp32", "fp16", "int8", "bf16")
"""The first of these precisions that has passed its parity is timed."""
IMAGES = 8
BUDGET_S = 10.0
"""For the rounds; L needs 9 s for six rounds on two busy cores, and six rounds are the fewest that have an interval."""
WIDEST = 1.5
"""Largest ratio of the ends of a speed-up's interval; with a wider one the speed-up is not known."""


class LatencyRow(Record):
    """One of the two that were timed."""

    runtime: str
    precision: str
    precision_used: str | None
    """In which the convolutions ran; null if the runtime does not tell."""
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
    machine: dict[str, str | int]
    reason: str | None
    """Why nothing is known, where the rows have no figures."""
    rows: list[LatencyRow]


def latency_table(export: Export, observer: StepObserver) -> LatencyTable | None:
    """Time the reference and the first file that passed its parity, unless that is up to date.

    Args:
        export: what ``run_export`` returned; of one that only asked, tell the observer what would run.
        observer: is told about it.

    Returns:
        The table; None if no file passed, or if it was not to be measured.
    """
    steps, precision = export.steps, next((one for one in TIMED if export.steps.passed(one)), None)
    if precision is None:
        return None

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        plain = measure(read_export(export.folder), precision, progress).model_dump()
        write_json(made / REPORT, plain)
        return plain

    options = {"budget_s": BUDGET_S, "machine": machine(), "precision": precision}
    inputs = {**steps.weights.outputs, **steps.onnx[precision].outputs}
    tools = ("torch", "onnxruntime-gpu", "onnxruntime", "openvino")
    step = Step("latency", (REPORT,), inputs, options, tools, code=("bench", "export"), in_manifest=False)
    folder = Folder(export.folder, observer, only_ask=export.manifest is None)
    with folder.held():
        _forget_unknown(export)
        result = folder.perform(step, work).result
    return LatencyTable.model_validate(result) if result else None


def _forget_unknown(export: Export) -> None:
    """Remove the record of a table without figures, so that it is measured again: the machine may be quiet now."""
    record = export.folder / RECORDS / "latency.json"
    result = peek(record, "result")
    if export.manifest is not None and isinstance(result, dict) and result.get("reason"):
        record.unlink()


def measure(exported: ExportFolder, precision: str, progress: Progress) -> LatencyTable:
    """Measure the reference and the file of this precision side by side.

    Raises:
        KeyboardInterrupt: the run was interrupted; its rounds are not worth keeping.
    """
    from bench.harness.candidates import Candidate, reference
    from bench.harness.entries import Entrant, Settings
    from bench.harness.run import hold_session
    from bench.harness.timed_parity import ParityJudge
    from bench.stats.steadiness import WarmUpRule
    from bench.stats.stopping import StopRule

    threads, judge = usable_cores(), ParityJudge(exported)
    first = reference(threads)
    second = Candidate(usual_runtime(precision), precision, threads, exported.onnx(precision))
    rule = StopRule(half_width=0.1, budget_s=BUDGET_S, quantile=0.5, first_look=6)
    warm_up = WarmUpRule(minimum_s=0.3, cap_s=2.0, window_iterations=3, window_s=0.05)
    precisions = {of.id: of.precision for of in (first, second)}
    with tempfile.TemporaryDirectory(prefix="convnextpose-bench-") as place:
        inputs = Path(place) / "inputs.npy"
        np.save(inputs, judge.images[:IMAGES])
        session = hold_session(
            [Entrant(of.id, of.job(exported, inputs), of.precision) for of in (first, second)],
            first.id,
            judge.images[:IMAGES],
            lambda name, joints: judge(precisions[name], joints),
            Settings(threads, rule, warm_up, parity_images=IMAGES),
            progress=progress,
        )
    if not session.complete:
        raise KeyboardInterrupt
    return table_of(session, first, second)


def table_of(session: "Session", first: "Candidate", second: "Candidate") -> LatencyTable:
    """Return the table with the figures that the rounds of the reference and the file allow."""
    measured = session.measured
    ratio = measured.ratio(first.id, second.id)
    reason = _unknown(session, ratio)
    rows = []
    for of in (first, second):
        loaded, shown = session.entries[of.id].loaded, ratio if of is second and reason is None else None
        medians = list(measured.round_medians_ms(of.id).values())
        rows.append(
            LatencyRow(
                runtime=of.runtime,
                precision=of.precision,
                precision_used=loaded.facts.get("precision_used") if loaded else None,
                threads=of.threads,
                latency_ms=median(medians) if reason is None else None,
                speed_up=shown.median if shown else None,
                speed_up_low=shown.low if shown else None,
                speed_up_high=shown.high if shown else None,
                samples_ms=[visit.samples_ms["host_e2e"] for visit in measured.visits[of.id]],
            )
        )
    how = f"{measured.rounds} rounds in random order, one process each, the other one stopped"
    protocol = f"{how}; 95 % interval of the median round ratio"
    return LatencyTable(protocol=protocol, machine=machine(), reason=reason, rows=rows)


def _unknown(session: "Session", ratio: "Ratio | None") -> str | None:
    """Return why no figure is to be shown; None if they are."""
    faults = [f"{n}: {fault}" for n, of in session.entries.items() for fault in (*of.faults, of.not_possible) if fault]
    if faults:
        return "; ".join(faults)
    if ratio is None:
        return f"{session.measured.rounds} rounds in {BUDGET_S:g} s are too few for an interval"
    if not ratio.high <= WIDEST * ratio.low:
        return f"the machine was too busy: the speed-up lies between {ratio.low:.2g} and {ratio.high:.2g}"
    return None
