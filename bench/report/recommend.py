"""Choice of the row to ship: the fastest of those that may be shipped, with the reason. A pure function.

Two rows are equally fast if the intervals of their speed-ups overlap, each widened by the difference of two
instances of the reference: so far apart two processes of one artifact can lie. Then speed does not decide between them,
but the smaller export error, and where that is no difference either, the smaller file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.report.measurement import Measurement
from bench.report.rows import error_mm, headline, name_of, parity_status
from bench.results import cells
from bench.results.result import Row
from bench.sessions.exported import TORCH_FORMS
from bench.stats.statistics import Ratio
from export.common.interface import HALVES
from export.common.plain import group_names
from export.parity.budgets import PASS, WITHIN_ROUNDING

SAME_ERROR_MM = 0.1
"""Mean export errors that differ by less are the same: it is the FP32 budget, which is below any use of a pose."""

LEAST_INT8_GAIN = 0.02
"""Least gain of INT8 over the best half precision for a recommendation, since its error is larger."""

CAVEATS = {
    "stand-in": "Stand-in weights: only the latency is meaningful, so choose again with your own checkpoint.",
    "demo": "Demo weights, trained on drawn figures: their accuracy says nothing about people.",
}
"""Notice on top of a page and beside a recommendation, by the origin of the weights."""


@dataclass(frozen=True)
class Choice:
    """The row to ship of one measurement; None where nothing can be recommended."""

    measurement: Measurement
    row: Row | None
    reason: str
    passed_over: tuple[str, ...] = ()
    """The rows that look faster, and why they may not be shipped; each reason once."""

    @property
    def caveat(self) -> str | None:
        """The notice about the weights; None for a user's checkpoint."""
        return CAVEATS.get(self.measurement.weights)


def recommend(measurement: Measurement) -> Choice:
    """Choose among the rows of one measurement."""
    if measurement.missing is not None:
        return Choice(measurement, None, f"Nothing can be recommended: {measurement.missing}.")
    tolerance = measurement.tolerance
    refusals = [(row, refusal(row, measurement)) for row in measurement.rows]
    able = [row for row, reason in refusals if reason is None]
    if not able:
        return Choice(measurement, None, _no_row(refusals))
    weighed, int8_gain = _weigh_int8(able)
    fastest = min(weighed, key=_p50_ms)
    same = [row for row in weighed if not_told_apart(row, fastest, tolerance)]
    chosen, decided_by = _choose(same)
    limit = max(_p50_ms(chosen), _p50_ms(fastest))
    faster = _by_reason((row, reason) for row, reason in refusals if _p50_ms(row) < limit)
    passed = [f"Passed over, though it looks faster: {names}: {reason}" for reason, names in faster.items()]
    reason = _reason(chosen, measurement, able, weighed, same, decided_by) + int8_gain
    return Choice(measurement, chosen, reason, tuple(passed))


def refusal(row: Row, measurement: Measurement) -> str | None:
    """Return the reason against recommending this row; None if there is none."""
    if row.verdict in ("invalid", "unstable"):
        return f"{row.verdict}" + (f" ({row.reasons[0]})" if row.reasons else "")
    if row.parity is None or row.parity["outcome"] != PASS:
        return f"parity not passed ({row.parity['reason'] if row.parity else 'not judged'})"
    if headline(row) is None:
        return "not timed"
    if row.runtime in TORCH_FORMS:
        return "PyTorch is the reference, not a file to ship"
    return _accuracy_refusal(row, measurement)


def not_told_apart(row: Row, other: Row, tolerance: float = 0.0) -> bool:
    """Return whether the intervals of the two speed-ups, each widened by ``tolerance``, overlap."""
    if row is other:
        return True
    first, second = widened(row, tolerance), widened(other, tolerance)
    if first is None or second is None:
        return False
    return first.high >= second.low and second.high >= first.low


def widened(row: Row, tolerance: float) -> Ratio | None:
    """Return the speed-up with the interval that decides; the reference may be shipped, where it is not PyTorch."""
    up = Ratio(1.0, 1.0, 1.0, rounds=1) if row.is_reference else row.speed_up
    return None if up is None else replace(up, low=up.low / (1 + tolerance), high=up.high * (1 + tolerance))


def _accuracy_refusal(row: Row, measurement: Measurement) -> str | None:
    """Return the accuracy's reason against the row: a loss beyond the budget or, for int8, an unknown one."""
    losses = [accuracy.loss.mean for accuracy in measurement.accuracy_of(row) if accuracy.loss]
    if row.precision == "int8" and not losses:
        return f"{measurement.parity_text(row)}; accuracy not evaluated"
    limit = measurement.allowed_mm(row.precision)
    for loss in losses:
        if limit is not None and not loss <= limit:
            return f"the accuracy loss is {loss:+.2f} mm, allowed {limit:g}"
    return None


def _no_row(refusals: Sequence[tuple[Row, str | None]]) -> str:
    """Say why nothing is recommended, each reason once for all rows."""
    reasons = _by_reason((row, reason) for row, reason in refusals if not row.is_reference)
    if not reasons:
        return "No row may be shipped: only the reference was measured."
    if len(reasons) == 1:
        return f"No row may be shipped. Every row: {next(iter(reasons))}."
    return f"No row may be shipped. {'; '.join(f'{names}: {reason}' for reason, names in reasons.items())}."


def _by_reason(refusals: Iterable[tuple[Row, str | None]]) -> dict[str, str]:
    """Return the rows of each reason; unstable rows with different causes share one, as the table has the causes."""
    pairs = [(row, reason) for row, reason in refusals if reason is not None]
    causes = {reason for row, reason in pairs if row.verdict == "unstable"}
    names = group_names(
        (name_of(row), "unstable" if row.verdict == "unstable" and len(causes) > 1 else reason) for row, reason in pairs
    )
    return {reason: ", ".join(rows) for reason, rows in names.items()}


def _choose(same: Sequence[Row]) -> tuple[Row, str | None]:
    """Return one of several rows that are equally fast, and what decided."""
    nearest = min(map(_mean_error, same))
    near = [row for row in same if _mean_error(row) <= nearest + SAME_ERROR_MM]
    chosen = min(near, key=lambda row: (row.artifact_bytes or float("inf"), _p50_ms(row)))
    if len(same) == 1:
        return chosen, None
    if len(near) == 1:
        return chosen, "has the smallest export error"
    smaller = any((row.artifact_bytes or 0) > (chosen.artifact_bytes or 0) for row in near)
    return chosen, "has the smallest file" if smaller else "has the lowest median"


def _weigh_int8(able: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """Return the rows to choose from, without INT8 where it gains too little, and a sentence on its gain."""
    int8s, halves = ([row for row in able if row.precision in kinds] for kinds in (("int8",), HALVES))
    if not int8s or not halves:
        return able, ""
    int8, half = min(int8s, key=_p50_ms), min(halves, key=_p50_ms)
    gain = _p50_ms(half) / _p50_ms(int8) - 1
    text = f" {name_of(int8)} is {gain:.1%} faster than {name_of(half)}"
    if gain >= LEAST_INT8_GAIN:
        return able, f"{text}." if _p50_ms(int8) == min(map(_p50_ms, able)) else ""
    rows = [row for row in able if row.precision != "int8"]
    return rows, f"{text}, too little for its error." if gain > 0 else ""


def _reason(
    row: Row,
    measurement: Measurement,
    able: Sequence[Row],
    weighed: Sequence[Row],
    same: Sequence[Row],
    decided_by: str | None,
) -> str:
    """Return why the row is chosen; ``weighed`` are those of the ``able`` rows that were considered."""
    latency, up = headline(row), row.speed_up
    assert latency is not None
    size = f", {cells.megabytes(row.artifact_bytes)}" if row.artifact_bytes else ""
    name = f"{name_of(row)} ({row.artifact or 'its engine'}{size})"
    if len(able) == 1:
        first = f"{name} is the only row that may be shipped"
    elif decided_by is None:
        first = f"{name} is the fastest of {len(able)} rows that may be shipped"
        first += ", int8 left aside" * any(_p50_ms(faster) < latency.p50_ms for faster in able if faster not in weighed)
    else:
        first = f"{name} is as fast as {_rivals(row, same, measurement)}, and {decided_by}"
    gain = f", {cells.ratio(up.median, up.low, up.high)} times as fast as {measurement.reference}" if up else ""
    unlimited = " No accuracy budget applies: the choice is by latency alone." * (parity_status(row) == WITHIN_ROUNDING)
    return f"{first}: {latency.p50_ms:.2f} ms{gain}.{unlimited}"


def _rivals(row: Row, same: Sequence[Row], measurement: Measurement) -> str:
    """Return the rows that are equally fast, with the intervals that say so."""
    tolerance = measurement.tolerance
    wide = {name_of(other): interval for other in (row, *same) if (interval := widened(other, tolerance))}
    texts = [f"{name} [{interval.low:.2f}, {interval.high:.2f}]" for name, interval in wide.items()]
    rivals = ", ".join(name_of(other) for other in same if other is not row)
    return f"{rivals} (speed-ups, widened by the {tolerance:.1%} of two references: {', '.join(texts)})"


def _p50_ms(row: Row) -> float:
    """Return the median; a row without a latency might be anything, and so the fastest."""
    latency = headline(row)
    return latency.p50_ms if latency else 0.0


def _mean_error(row: Row) -> float:
    mean = error_mm(row)
    return float("inf") if mean is None else mean
