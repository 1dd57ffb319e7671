"""Baseline against candidate from two stored results, where nothing of the baseline is there any more to measure."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.gate.compare import Cell, Comparison, executed
from bench.gate.decision import (
    CellSeen,
    Judged,
    Tail,
    allowed_slowdown,
    confidence_of_a_cell,
    control_doubts,
    judge_all,
    judge_cell,
    slowdown_between_runs,
)
from bench.machine.environment import identity
from bench.results.result import RatioRecord, Result, Row
from bench.stats.statistics import Ratio, at_confidence
from bench.stats.stopping import FIRST_LOOK
from export.common.errors import BadInput

PROTOCOL = ("threads", "cuda_graph", "launches", "images", "clock", "topology", "quiesce_method")
"""What must be equal of how two results were taken; how long was measured need not."""


def compare_results(base: Result, candidate: Result) -> Comparison:
    """From two stored results: each row's speed-up over its own run's reference.

    Returns:
        Refused, with the differences named, if they were not taken on one machine with the same software, in the same
        way, against the same reference. Of a run that was interrupted nothing is decided about time.

    Raises:
        BadInput: they are not of one model.
    """
    if base.model != candidate.model:
        raise BadInput("the results are not of one model", f"{base.model}, {candidate.model}", "compare one model")
    differing = differences(base.environment, candidate.environment)
    if not differing and base.fingerprint != candidate.fingerprint:
        differing = ["the fingerprints differ"]
    differing += taken_differently(base, candidate)
    if differing:
        return Comparison("stored", "REFUSED", (), reasons=tuple(differing))
    rows = [row for row in base.rows if not row.is_reference]
    controls, doubts = [_ratio(of.control) for of in (base, candidate) if of.control], _doubts(base, candidate)
    control = max(controls, key=lambda ratio: ratio.half_width, default=None)
    cells = [_stored_cell(row, candidate.row(row.id), control, doubts, len(rows)) for row in rows]
    return Comparison("stored", judge_all([Judged(c.outcome) for c in cells]), tuple(cells))


def taken_differently(base: Result, candidate: Result) -> list[str]:
    """In what two results differ that must be equal, beside the machine: weights, reference, protocol."""
    ours, theirs = (
        {name: getattr(of, name) for name in ("weights", "reference_id", "mode")}
        | {name: of.protocol.get(name) for name in PROTOCOL}
        for of in (base, candidate)
    )
    return [f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def _doubts(base: Result, candidate: Result) -> list[str]:
    """Why nothing of the two decides about time."""
    doubts = []
    for side, of in (("baseline", base), ("candidate", candidate)):
        said = [] if of.complete else ["the run was interrupted"]
        said += (
            control_doubts(_ratio(of.control), "the reference")
            if of.control
            else ["its reference was not measured twice"]
        )
        doubts += [f"the {side}: {text}" for text in said]
    return doubts


def differences(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[str]:
    """In what two environments differ, as far as the fingerprint goes."""
    ours, theirs = identity(base), identity(candidate)
    return [f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def _stored_cell(
    base: Row, candidate: Row | None, control: Ratio | None, run_doubts: Sequence[str], cells: int
) -> Cell:
    """``control``: the wider one of the two runs."""
    allowed = allowed_slowdown("CPU" if base.facts.get("device", "CPU") == "CPU" else "GPU", control, stored=True)
    if candidate is None:
        return Cell(base.id, "INCONCLUSIVE", ("the candidate's result has no such row",), None, allowed, control, 0)
    doubts = [*run_doubts]
    doubts += [
        f"{name}: {row.speed_up.rounds} rounds, fewer than {FIRST_LOOK}"
        for name, row in (("the baseline", base), ("the candidate", candidate))
        if row.speed_up is not None and not row.speed_up.rounds >= FIRST_LOOK
    ]
    doubts += [
        f"{name} is {row.verdict}: {'; '.join(row.reasons)}"
        for name, row in (("the baseline", base), ("the candidate", candidate))
        if row.speed_up is None and not (row is candidate and row.verdict == "invalid")
    ]
    slowdown = None
    if base.speed_up is not None and candidate.speed_up is not None:
        confidence = confidence_of_a_cell(cells)
        ratios = [at_confidence(_ratio(row.speed_up), confidence) for row in (base, candidate) if row.speed_up]
        slowdown = slowdown_between_runs(*ratios)
    sizes, memories = (base.artifact_bytes, candidate.artifact_bytes), (_peak(base), _peak(candidate))
    seen = CellSeen(
        slowdown,
        allowed,
        faults=tuple(candidate.reasons) if candidate.verdict == "invalid" else (),
        doubts=tuple(doubts),
        sizes=(sizes[0], sizes[1]) if sizes[0] is not None and sizes[1] is not None else None,
        memories_mib=(memories[0], memories[1]) if memories[0] is not None and memories[1] is not None else None,
        precision=base.precision,
        executed=executed(base.facts, candidate.facts),
        tail=Tail(None, "p99 not judged: rounds of two runs are not paired"),
    )
    judged = judge_cell(seen)
    rounds = candidate.speed_up.rounds if candidate.speed_up else 0
    return Cell(base.id, judged.outcome, judged.reasons, slowdown, allowed, control, rounds, notes=judged.notes)


def _ratio(record: RatioRecord) -> Ratio:
    return Ratio(record.median, record.low, record.high, record.rounds)


def _peak(row: Row) -> float | None:
    return row.memory.peak_mib if row.memory else None
