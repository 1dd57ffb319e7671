"""Baseline against candidate from two stored results, where nothing of the baseline is there any more to measure."""

from collections.abc import Mapping
from typing import Any

from bench.compare import Cell, Comparison, executed
from bench.environment import identity
from bench.gate import CellSeen, Judged, Tail, allowed_slowdown, judge_all, judge_cell, slowdown_between_runs
from bench.result import Result, Row
from bench.statistics import Ratio
from export.errors import BadInput


def compare_results(base: Result, candidate: Result) -> Comparison:
    """From two stored results: each row's speed-up over its own run's reference.

    Returns:
        Refused, with the differences named, if they were not taken on one machine with the same software.

    Raises:
        BadInput: they are not of one model.
    """
    if base.model != candidate.model:
        raise BadInput("the results are not of one model", f"{base.model}, {candidate.model}", "compare one model")
    differing = differences(base.environment, candidate.environment)
    if base.fingerprint != candidate.fingerprint:
        return Comparison("stored", "REFUSED", (), reasons=tuple(differing) or ("the fingerprints differ",))
    cells = [_stored_cell(row, candidate.row(row.id)) for row in base.rows if not row.is_reference]
    return Comparison("stored", judge_all([Judged(c.outcome) for c in cells]), tuple(cells))


def differences(base: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[str]:
    """In what two environments differ, as far as the fingerprint goes."""
    ours, theirs = identity(base), identity(candidate)
    return [f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def _stored_cell(base: Row, candidate: Row | None) -> Cell:
    allowed = allowed_slowdown("CPU" if base.facts.get("device", "CPU") == "CPU" else "GPU", None, stored=True)
    if candidate is None:
        return Cell(base.id, "INCONCLUSIVE", ("the candidate's result has no such row",), None, allowed, None, 0)
    doubts = [
        f"{name} is {row.verdict}: {'; '.join(row.reasons)}"
        for name, row in (("the baseline", base), ("the candidate", candidate))
        if row.speed_up is None and not (row is candidate and row.verdict == "invalid")
    ]
    slowdown = None
    if base.speed_up is not None and candidate.speed_up is not None:
        slowdown = slowdown_between_runs(_ratio(base), _ratio(candidate))
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
    return Cell(base.id, judged.outcome, judged.reasons, slowdown, allowed, None, rounds, notes=judged.notes)


def _ratio(row: Row) -> Ratio:
    assert row.speed_up is not None
    return Ratio(row.speed_up.median, row.speed_up.low, row.speed_up.high, row.speed_up.rounds)


def _peak(row: Row) -> float | None:
    return row.memory.peak_mib if row.memory else None
