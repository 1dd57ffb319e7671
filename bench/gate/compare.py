"""Comparison of two exported folders, measured side by side."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TypeVar

import numpy as np

from bench.gate.decision import (
    LOOKS,
    Cell,
    CellData,
    Comparison,
    allowed_slowdown,
    confidence_of_a_cell,
    confidence_of_a_look,
    control_doubts,
    decide_cell,
    decide_time,
    slowdown_of,
    worst_outcome,
)
from bench.gate.missing_cells import LOST_PRECISION, missing_cells
from bench.gate.tails import tail_between
from bench.harness.candidates import Candidate, find_candidates, require_some
from bench.harness.measure import measure_workloads
from bench.harness.measurements import Measurements, WorkloadRecord
from bench.harness.parity_check import ParityCheck
from bench.harness.rounds import Decide, Rounds
from bench.harness.settings import Settings
from bench.harness.workload import CONTROL as CONTROL_SUFFIX
from bench.machine.environment import read_sensors, share_with, steal_share
from bench.sessions.exported import TORCH_FORMS, ExportFolder
from bench.sessions.gpu_runtimes import is_gpu
from bench.stats.quality import SHIFT, STEAL, THROTTLED
from bench.stats.statistics import Ratio, log_ratios, shift
from bench.stats.stopping import FIRST_LOOK, Stop
from export.common.errors import BadInput
from export.common.progress import Progress, no_progress

T = TypeVar("T")

BASELINE, CANDIDATE = "baseline", "candidate"
CONTROL = BASELINE + CONTROL_SUFFIX

Pair = tuple[Candidate, Candidate]
"""The two sides of one cell: baseline and candidate."""


def compare_folders(
    baseline: ExportFolder,
    candidate: ExportFolder,
    runtimes: Sequence[str],
    precisions: Sequence[str] | None,
    settings: Settings,
    progress: Progress = no_progress,
    machine_lock: AbstractContextManager[None] | None = None,
) -> Comparison:
    """Measure the cells that both folders have, one after the other.

    The rule's budget is for the rounds of all cells together. A requested cell that cannot be compared is in the
    comparison, too. ``machine_lock`` is held while the machine is measured, but not yet while the request is checked.

    Raises:
        BadInput: the two are not exports of one network, or have nothing in common.
        NotPossible: none of the named runtimes can be used here.
    """
    sides = [find_candidates(side, runtimes, precisions, settings.threads) for side in (baseline, candidate)]
    pairs = [(a, b) for a in sides[0][0] for b in sides[1][0] if a.id == b.id and a.runtime not in TORCH_FORMS]
    missing = missing_cells(baseline, candidate, runtimes, sides[0], sides[1])
    if not pairs and LOST_PRECISION not in missing.values():
        for side in sides:
            require_some(*side, runtimes)
        request = f"{', '.join(runtimes)}; precisions of the baseline: {', '.join(baseline.precisions)}"
        raise BadInput("the gate compares nothing of this", request, "name a runtime that runs exported files")
    with machine_lock or nullcontext():
        comparison = compare_pairs(baseline, candidate, pairs, settings, progress)
    cells = list(comparison.cells)
    for name, decision in missing.items():
        allowed = allowed_slowdown("GPU" if is_gpu(name.split("/")[0]) else "CPU", None)
        cells.append(Cell(name, decision.outcome, decision.reasons, None, allowed, None, 0))
    return replace(comparison, outcome=worst_outcome(cell.outcome for cell in cells), cells=tuple(cells))


def compare_pairs(
    baseline: ExportFolder,
    candidate: ExportFolder,
    pairs: Sequence[Pair],
    settings: Settings,
    progress: Progress = no_progress,
) -> Comparison:
    """Measure and decide one cell for each pair.

    Raises:
        BadInput: the two are not exports of one network.
    """
    _require_same_task(baseline, candidate)
    cells, complete, left_s = list[Cell](), True, settings.rule.budget_s
    for index, pair in enumerate(pairs):
        share_s, start_s = left_s / (len(pairs) - index), time.monotonic()
        rule = replace(settings.rule, budget_s=share_s)
        decide = stop_decision(len(pairs), share_s, pair[0].device)
        report = partial(_report, progress, f"{pair[0].id} ({index + 1} of {len(pairs)})")
        measurements = measure_pair(baseline, candidate, pair, replace(settings, rule=rule, decide=decide), report)
        left_s -= min(share_s, time.monotonic() - start_s)  # the next cells share the rest
        cells.append(cell_of(pair, measurements, len(pairs)))
        complete = measurements.complete
        if not complete:
            break
    return Comparison("paired", worst_outcome(cell.outcome for cell in cells), tuple(cells), complete)


def _report(progress: Progress, cell: str, text: str, share: float | None = None) -> None:
    progress(f"{cell}: {text}", share)


def _require_same_task(baseline: ExportFolder, candidate: ExportFolder) -> None:
    """Refuse two networks: a difference in time or size would say nothing about a regression."""
    first, second = (side.manifest.architecture.model_dump() for side in (baseline, candidate))
    if first != second:
        models = f"{baseline.manifest.model} and {candidate.manifest.model}"
        differing = [f"{name}: {value} and {second[name]}" for name, value in first.items() if value != second[name]]
        detail = f"{models}: {'; '.join(differing)}"
        raise BadInput("baseline and candidate are different models", detail, "compare exports of one model")


def measure_pair(
    baseline: ExportFolder, candidate: ExportFolder, pair: Pair, settings: Settings, progress: Progress
) -> Measurements:
    """Measure one cell: the baseline, a second instance of it, and the candidate.

    Raises:
        BadInput: the parity images of the two differ.
    """
    checks = {BASELINE: ParityCheck(baseline), CANDIDATE: ParityCheck(candidate)}
    images = checks[BASELINE].images[: settings.parity_images]
    if not np.array_equal(images, checks[CANDIDATE].images[: settings.parity_images]):
        do = "export both with the same --images, or without"
        raise BadInput("the parity images of the two exports differ", "they have different ground truths", do)
    checks[CONTROL] = checks[BASELINE]
    return measure_workloads(
        [
            pair[0].workload(baseline, BASELINE),
            pair[0].workload(baseline, CONTROL),
            pair[1].workload(candidate, CANDIDATE),
        ],
        BASELINE,
        images,
        lambda workload, joints: checks[workload.name](workload.precision, joints),
        settings,
        sensors=read_sensors,
        progress=progress,
    )


def stop_decision(cells: int, budget_s: float, device: str) -> Decide:
    """Return the function that ends a cell: at a look that decides it, at the last look, or when the time is up."""
    confidence = confidence_of_a_look(cells)

    def decide(rounds: Rounds, alive: Sequence[str], elapsed_s: float) -> Stop | None:
        if CANDIDATE not in alive:
            return Stop("the candidate was lost", reached=False)
        if rounds.completed in LOOKS:
            ratio, control = rounds.ratio(BASELINE, CANDIDATE, confidence), rounds.ratio(BASELINE, CONTROL)
            allowed = allowed_slowdown(device, control)
            decided = ratio is not None and decide_time(slowdown_of(ratio), allowed) != "INCONCLUSIVE"
            decided = decided and control is not None and not control_doubts(control)
            if decided or rounds.completed >= LOOKS[-1]:
                return Stop("decided" if decided else f"{rounds.completed} rounds did not decide it", reached=decided)
        return Stop(f"{budget_s:g} s were spent", reached=False) if elapsed_s >= budget_s else None

    return decide


def cell_of(pair: Pair, measurements: Measurements, cells: int) -> Cell:
    """Decide one cell from its measurements."""
    rounds, records = measurements.rounds, measurements.records
    control = rounds.ratio(BASELINE, CONTROL)
    ratio = rounds.ratio(BASELINE, CANDIDATE, confidence_of_a_look(cells))
    sides = [records[BASELINE], records[CANDIDATE]]
    data = CellData(
        slowdown_of(ratio) if ratio is not None else None,
        allowed_slowdown(pair[0].device, control),
        faults=tuple(records[CANDIDATE].faults),
        doubts=tuple(_doubts(measurements, control)),
        sizes=both(*(side.artifact.size_bytes if side.artifact else None for side in pair)),
        memories_mib=both(*(side.memory_mib.get("peak") for side in sides)),
        precision=pair[0].precision,
        executed=both(*(side.loaded.facts.get("executed") if side.loaded else None for side in sides)),
        tail=tail_between(rounds, BASELINE, CANDIDATE, confidence_of_a_cell(cells)),
        starts_ms=_starts_ms(pair, records),
    )
    return make_cell(pair[0].id, data, control, rounds.completed)


def make_cell(name: str, data: CellData, control: Ratio | None, rounds: int) -> Cell:
    """Return the cell with the decision that its data allow."""
    decision = decide_cell(data)
    return Cell(
        name,
        decision.outcome,
        decision.reasons,
        data.slowdown,
        data.allowed,
        control,
        rounds,
        notes=decision.notes,
        p99=data.tail.slowdown if data.tail else None,
    )


def both(baseline: T | None, candidate: T | None) -> tuple[T, T] | None:
    """Return the figures of both sides, if both are known."""
    return None if baseline is None or candidate is None else (baseline, candidate)


def _starts_ms(pair: Pair, records: Mapping[str, WorkloadRecord]) -> dict[str, tuple[float, float]]:
    """Return the time for building the engine, for loading, and until the first result."""
    loads = [
        [loaded for name in names if (loaded := records[name].loaded)] for names in ((BASELINE, CONTROL), (CANDIDATE,))
    ]
    build_s = [side.artifact.details.get("build_seconds") if side.artifact else None for side in pair]
    starts = {
        "building the engine": both(*(None if seconds is None else seconds * 1e3 for seconds in build_s)),
        "loading": both(*(median(load.load_s * 1e3 for load in side) if side else None for side in loads)),
        "the cold start": both(
            *(
                median((load.import_s + load.load_s) * 1e3 + load.first_ms for load in side) if side else None
                for side in loads
            )
        ),
    }
    return {name: times for name, times in starts.items() if times is not None}


def _doubts(measurements: Measurements, control: Ratio | None) -> list[str]:
    """Return why this run decides nothing about time."""
    rounds, records = measurements.rounds, measurements.records
    doubts = [f"{name}: {fault}" for name in (BASELINE, CONTROL) for fault in records[name].faults]
    doubts += [f"{name}: {reason}" for name, record in records.items() if (reason := record.not_possible) is not None]
    if not measurements.complete:
        doubts.append("the run was interrupted")
    if rounds.completed < FIRST_LOOK:
        doubts.append(f"{rounds.completed} rounds, fewer than {FIRST_LOOK}")
    if control is not None:
        doubts += control_doubts(control)
    pairs_ms = rounds.paired_ms(BASELINE, CANDIDATE)
    if len(pairs_ms[0]) and not shift(log_ratios(*pairs_ms)) <= SHIFT:
        doubts.append("the ratio shifted")
    steal = steal_share(rounds.sensors)
    if steal is not None and not steal <= STEAL:
        doubts.append(f"{steal:.1%} of the processor time was stolen")
    if not share_with(rounds.sensors, "throttled") <= THROTTLED:
        doubts.append("throttled")
    return doubts
