"""Which row to ship: the fastest of those that may be shipped, and why, in one sentence. A pure function.

Two rows are not told apart by this run if their speed-ups' intervals overlap, each widened by what two instances of
the reference differed by: so far apart two processes of one thing can lie. Then speed does not decide between them,
but which is nearer to the truth, and where that is no difference either, the smaller file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench import cells
from bench.exported import TORCH_FORMS
from bench.report.subject import Row, SpeedUp, Subject
from export.parity import EXPLAINED, GRADES, REQUIRED

SAME_DRIFT_MM = 0.1
"""Mean drifts that differ by less are the same: it is the FP32 budget, which is below any use of a pose."""

WEIGHTS = {
    "stand-in": "Stand-in weights: only the latency is meaningful, so choose again with your own checkpoint.",
    "demo": "Demo weights, trained on drawn figures: what is said of accuracy is not about people.",
}
"""What qualifies a recommendation, by the weights' origin."""

NOTICES = {
    "stand-in": "weights: stand-in — latency is meaningful, poses are not",
    "demo": "weights: demo — trained on drawn figures, so that its poses say nothing about people",
}
"""What qualifies a whole page, by the weights' origin."""


@dataclass(frozen=True)
class Recommendation:
    """``row`` is None where nothing can be recommended; ``passed_over`` says why of everything that was faster."""

    row: Row | None
    reason: str
    passed_over: tuple[str, ...] = ()
    caveat: str | None = None


def recommended(subject: Subject) -> Recommendation:
    """What to ship of a model."""
    return recommend(subject.rows, subject.weights, subject.bench.control if subject.bench else None)


def recommend(rows: Sequence[Row], weights: str, control: SpeedUp | None = None) -> Recommendation:
    """Choose among the rows of one benchmark.

    Args:
        rows: all of them.
        weights: their origin, ``checkpoint``, ``demo`` or ``stand-in``.
        control: two instances of the reference, one over the other.
    """
    luck = max(control.high - 1, 1 - control.low) if control else 0.0
    refusals = [(row, refusal(row)) for row in rows]
    able = [row for row, why in refusals if why is None]
    caveat = WEIGHTS.get(weights)
    if not able:
        return Recommendation(None, _none(refusals), (), caveat)
    fastest = min(able, key=_p50)
    same = [row for row in able if not_told_apart(row, fastest, luck)]
    chosen, by = _choose(same)
    limit = max(_p50(chosen), _p50(fastest))
    passed = [f"{row.name} looks faster, but {why}" for row, why in refusals if why and _looks_faster(row, limit)]
    return Recommendation(chosen, _reason(chosen, len(able), same, by), tuple(passed), caveat)


def refusal(row: Row) -> str | None:
    """Why this row may not be recommended; None if it may."""
    if row.verdict == "invalid":
        return f"it is invalid ({row.reasons[0]})" if row.reasons else "it is invalid"
    if row.verdict == "unstable":
        return f"its figures are unstable ({row.reasons[0]})" if row.reasons else "its figures are unstable"
    if row.drift is None or row.drift.outcome != "pass":
        return f"its parity is not passed ({row.drift.reason if row.drift else 'not judged'})"
    if row.headline is None:
        return "it has no latency"
    if row.runtime in TORCH_FORMS:
        return "PyTorch is what is compared with, not a file to ship"
    return _price_refusal(row)


def not_told_apart(row: Row, other: Row, luck: float = 0.0) -> bool:
    """Whether the intervals of the two speed-ups, each widened by the share ``luck``, overlap."""
    if row is other:
        return True
    ours, theirs = _over_reference(row), _over_reference(other)
    if ours is None or theirs is None:
        return False
    wider = (1 + luck) ** 2
    return ours.high * wider >= theirs.low and theirs.high * wider >= ours.low


def _over_reference(row: Row) -> SpeedUp | None:
    """The reference itself may be what is shipped, where that is no PyTorch."""
    return SpeedUp(1.0, 1.0, 1.0) if row.is_reference else row.speed_up


def _none(refusals: Sequence[tuple[Row, str | None]]) -> str:
    """Why nothing is recommended, each reason once for all rows that it holds for."""
    by_reason: dict[str, list[str]] = {}
    for row, why in refusals:
        if why is not None and not row.is_reference:
            by_reason.setdefault(why.partition(" (")[0], []).append(row.name)
    said = "; ".join(
        f"{', '.join(names)}: {_of_several(why) if names[1:] else why}" for why, names in by_reason.items()
    )
    return f"No row may be shipped. {said}." if said else "Nothing was measured."


def _of_several(why: str) -> str:
    """A reason that is worded for one row, for several."""
    for one, several in (
        ("it is ", "they are "),
        ("it has ", "they have "),
        ("it costs ", "they cost "),
        ("its ", "their "),
    ):
        if why.startswith(one):
            return several + why.removeprefix(one)
    return why


def _price_refusal(row: Row) -> str | None:
    """A price that was measured must be within the precision's budget; of int8 it must have been measured."""
    prices = [of.price_mm.value for of in row.accuracy if of.price_mm is not None]
    if row.precision == "int8" and not prices:
        return "what int8 costs in accuracy is not known (convnextpose evaluate measures it)"
    limit = GRADES[REQUIRED[row.precision]].mean_mm if row.precision in REQUIRED else None
    for price in prices:
        if limit is not None and not price <= limit:
            return f"it costs {price:+.2f} mm in accuracy, allowed {limit:g}"
    return None


def _choose(same: Sequence[Row]) -> tuple[Row, str | None]:
    """One of rows that are equally fast, and what decided."""
    nearest = min(map(_drift, same))
    near = [row for row in same if _drift(row) <= nearest + SAME_DRIFT_MM]
    chosen = min(near, key=lambda row: (row.file_bytes or float("inf"), _p50(row)))
    if len(same) == 1:
        return chosen, None
    smaller = any((row.file_bytes or 0) > (chosen.file_bytes or 0) for row in near)
    if len(near) == 1:
        return chosen, "is the nearest to the truth"
    return chosen, "has the smallest file" if smaller else "has the lowest median"


def _reason(row: Row, able: int, same: Sequence[Row], by: str | None) -> str:
    timing, drift, up = row.headline, row.drift, row.speed_up
    assert timing is not None
    assert drift is not None
    gain = f", {cells.ratio(up.median, up.low, up.high)} times as fast as the reference" if up else ""
    if able == 1:
        first = f"{row.name} is the only row that may be shipped"
    elif by is None:
        first = f"{row.name} is the fastest of {able} rows that may be shipped"
    else:
        others = " and ".join(other.name for other in same if other is not row)
        first = f"{row.name} is as fast as {others} within what was measured, and {by}"
    mean = f"{cells.millimetres(drift.mean_mm)} mm" if drift.mean_mm is not None else "an unknown distance"
    drifted = f"; its joints are {mean} from the truth on average"
    if drift.status == EXPLAINED:
        drifted += ", for which no limit was asked: this is a choice by latency alone"
    return f"{first}: p50 {timing.p50_ms:.2f} ms{gain}{drifted}."


def _p50(row: Row) -> float:
    assert row.headline is not None
    return row.headline.p50_ms


def _drift(row: Row) -> float:
    return row.drift.mean_mm if row.drift and row.drift.mean_mm is not None else float("inf")


def _looks_faster(row: Row, limit_ms: float) -> bool:
    """Also what has no timing to compare: an invalid row could have been anything."""
    return row.headline is None or row.headline.p50_ms < limit_ms
