"""Comparison of two stored results, for a baseline that can no longer be measured."""

from collections.abc import Sequence
from typing import Any

from bench.gate.compare import both, differences, make_cell
from bench.gate.decision import (
    Cell,
    CellData,
    Comparison,
    Tail,
    allowed_slowdown,
    confidence_of_a_cell,
    control_doubts,
    slowdown_between_runs,
    worst_outcome,
)
from bench.machine.environment import identity
from bench.results.result import RatioRecord, Result, Row
from bench.stats.statistics import Ratio, at_confidence
from bench.stats.stopping import FIRST_LOOK
from export.common.errors import BadInput

SIDES = ("the baseline", "the candidate")
FIELDS = ("weights", "reference_id", "mode")
PROTOCOL = ("threads", "cuda_graph", "launches", "images", "clock", "topology", "quiesce_method")
"""Parts of the protocol that must be equal; the duration need not."""


def compare_results(baseline: Result, candidate: Result) -> Comparison:
    """Compare each row's speed-up over its own run's reference.

    Returns:
        A refusal with the differences, if the results come from different machines, software, protocols or references.
        An interrupted run decides nothing about time.

    Raises:
        BadInput: they belong to different models.
    """
    if baseline.model != candidate.model:
        raise BadInput("the results belong to different models", f"{baseline.model}, {candidate.model}", "compare one")
    differing = differences(identity(baseline.environment), identity(candidate.environment))
    if not differing and baseline.fingerprint != candidate.fingerprint:
        differing = ["the fingerprints differ"]
    differing += differences(_protocol(baseline), _protocol(candidate))
    if differing:
        return Comparison("stored", "REFUSED", (), reasons=tuple(differing))
    rows = [row for row in baseline.rows if not row.is_reference]
    controls = [_ratio(result.control) for result in (baseline, candidate) if result.control]
    control = max(controls, key=lambda ratio: ratio.half_width, default=None)
    doubts = [*_run_doubts(SIDES[0], baseline), *_run_doubts(SIDES[1], candidate)]
    cells = [_stored_cell(row, candidate.row(row.id), control, doubts, len(rows)) for row in rows]
    return Comparison("stored", worst_outcome(cell.outcome for cell in cells), tuple(cells))


def _protocol(result: Result) -> dict[str, Any]:
    """Return what must be equal, beside the machine."""
    return {name: getattr(result, name) for name in FIELDS} | {name: result.protocol.get(name) for name in PROTOCOL}


def _run_doubts(side: str, result: Result) -> list[str]:
    """Return why a run decides nothing about time."""
    doubts = [] if result.complete else ["the run was interrupted"]
    if result.control is None:
        doubts.append("its reference was not measured twice")
    else:
        doubts += control_doubts(_ratio(result.control), "the reference")
    return [f"{side}: {doubt}" for doubt in doubts]


def _stored_cell(
    baseline: Row, candidate: Row | None, control: Ratio | None, run_doubts: Sequence[str], cells: int
) -> Cell:
    """Decide one cell; ``control`` is the wider one of the two runs."""
    allowed = allowed_slowdown("CPU" if baseline.facts.get("device", "CPU") == "CPU" else "GPU", control, stored=True)
    if candidate is None:
        reason = "the candidate's result has no such row"
        return Cell(baseline.id, "INCONCLUSIVE", (reason,), None, allowed, control, 0)
    doubts, is_invalid = list(run_doubts), candidate.verdict == "invalid"
    for name, row in zip(SIDES, (baseline, candidate), strict=True):
        if row.speed_up is not None and not row.speed_up.rounds >= FIRST_LOOK:
            doubts.append(f"{name}: {row.speed_up.rounds} rounds, fewer than {FIRST_LOOK}")
        if row.speed_up is None and not (row is candidate and is_invalid):
            doubts.append(f"{name} is {row.verdict}: {'; '.join(row.reasons)}")
    slowdown = None
    if baseline.speed_up is not None and candidate.speed_up is not None:
        confidence = confidence_of_a_cell(cells)
        slowdown = slowdown_between_runs(
            at_confidence(_ratio(baseline.speed_up), confidence), at_confidence(_ratio(candidate.speed_up), confidence)
        )
    data = CellData(
        slowdown,
        allowed,
        faults=tuple(candidate.reasons) if is_invalid else (),
        doubts=tuple(doubts),
        sizes=both(baseline.artifact_bytes, candidate.artifact_bytes),
        memories_mib=both(_peak_mib(baseline), _peak_mib(candidate)),
        precision=baseline.precision,
        executed=both(baseline.facts.get("executed"), candidate.facts.get("executed")),
        tail=Tail(None, "p99 not judged: rounds of two runs are not paired"),
    )
    return make_cell(baseline.id, data, control, candidate.speed_up.rounds if candidate.speed_up else 0)


def _ratio(record: RatioRecord) -> Ratio:
    return Ratio(record.median, record.low, record.high, record.rounds)


def _peak_mib(row: Row) -> float | None:
    return row.memory.peak_mib if row.memory else None
