"""Latency against what it costs: how far the joints are from the truth, or MPJPE where that was evaluated."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.figures import base
from bench.report.subject import Row
from bench.report.views import Figure

SMALLEST_MM = 1e-4
"""A logarithmic axis has no zero; what is nearer to the truth than this is drawn here."""


def pareto(rows: Sequence[Row], chosen: Row | None) -> Figure | None:
    """Of rows that are ranked and have passed their parity; None if there are fewer than two."""
    shown = [row for row in theme.ordered(rows) if row.ranked and row.headline and row.drift]
    shown = [row for row in shown if row.drift and row.drift.outcome == "pass" and row.drift.mean_mm is not None]
    if len(shown) < 2:
        return None
    datasets = {row.accuracy[0].dataset for row in shown if row.accuracy}
    evaluated = len(datasets) == 1 and all(mpjpe(row) is not None for row in shown)
    what = f"MPJPE on {shown[0].accuracy[0].dataset}, mm" if evaluated else "mean distance from the FP64 truth, mm"
    cost = {row.id: _cost(row, evaluated) for row in shown}
    front = _front(shown, cost)
    values = [
        {
            **base.about(row),
            "p50_ms": base.short(row.headline.p50_ms),
            "cost": base.short(cost[row.id]),
            "peak_mib": row.peak_mib,
            "chosen": row is chosen,
        }
        for row in shown
        if row.headline
    ]
    alt_text = _words(shown, cost, front, chosen, evaluated)
    return Figure(
        "pareto", "Latency against accuracy", alt_text, _spec(shown, values, front, what, evaluated, alt_text)
    )


def mpjpe(row: Row) -> float | None:
    """Of the first evaluation."""
    return row.accuracy[0].mpjpe_mm if row.accuracy else None


def _spec(
    rows: Sequence[Row], values: base.Values, front: Sequence[Row], what: str, evaluated: bool, alt_text: str
) -> dict[str, object]:
    ids = {row.name for row in front}
    x = alt.X("p50_ms:Q", title="p50, ms", scale=alt.Scale(type="log", nice=False, padding=56))
    y = alt.Y(
        "cost:Q",
        title=what,
        scale=alt.Scale(zero=False, padding=30) if evaluated else alt.Scale(type="log", nice=False, padding=30),
        axis=alt.Axis() if evaluated else alt.Axis(values=[10**power for power in range(-4, 4)], format="~g"),
    )
    size = alt.Size(
        "peak_mib:Q",
        title="peak memory, MiB",
        scale=alt.Scale(range=[70, 420]),
        legend=base.legend("peak memory, MiB", values=_three(rows)),
    )
    tips = base.tooltip(row="row:N", p50_ms="p50_ms:Q", mm="cost:Q", peak_MiB="peak_mib:Q", verdict="verdict:N")
    points = alt.Chart(base.data(values)).encode(x=x, y=y)
    line = (
        alt.Chart(base.data([value for value in values if value["row"] in ids]))
        .mark_line(color=theme.QUIET, strokeDash=[2, 3], strokeWidth=1, interpolate="step-after")
        .encode(x=x, y=y, order="p50_ms:Q")
    )
    marks = points.mark_point(filled=True, opacity=0.9).encode(
        color=base.colour(rows), shape=base.shape(rows), size=size, tooltip=tips
    )
    ring = points.mark_point(size=700, color=theme.CHOSEN, strokeWidth=2).transform_filter("datum.chosen")
    said = points.mark_text(dy=-22, color=theme.CHOSEN, fontWeight="bold").encode(text=alt.value("recommended"))
    return base.finish(alt.layer(line, ring, marks, said.transform_filter("datum.chosen")), 340, alt_text)


def _cost(row: Row, evaluated: bool) -> float:
    if evaluated:
        return mpjpe(row) or 0.0
    return max(SMALLEST_MM, row.drift.mean_mm if row.drift and row.drift.mean_mm else 0.0)


def _three(rows: Sequence[Row]) -> list[float]:
    """Sizes for the legend: the smallest, the largest, and one between them."""
    known = sorted(row.peak_mib for row in rows if row.peak_mib is not None)
    return [round(of, -1) for of in (known[0], (known[0] + known[-1]) / 2, known[-1])] if known else []


def _front(rows: Sequence[Row], cost: dict[str, float]) -> list[Row]:
    """Rows that no other one beats in both, fastest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.headline.p50_ms if row.headline else 0.0, cost[row.id])):
        if not front or cost[row.id] < cost[front[-1].id]:
            front.append(row)
    return front


def _words(
    rows: Sequence[Row], cost: dict[str, float], front: Sequence[Row], chosen: Row | None, evaluated: bool
) -> str:
    what = "MPJPE" if evaluated else "mean drift"

    def said(row: Row) -> str:
        assert row.headline is not None
        return f"{row.name} ({row.headline.p50_ms:.2f} ms, {cost[row.id]:.2g} mm)"

    first, last = front[0], front[-1]
    text = f"{len(rows)} rows by p50 and {what}. Fastest: {said(first)}."
    text += f" Most accurate on the front: {said(last)}." if last is not first else " No other is more accurate."
    return text + (f" Recommended: {said(chosen)}." if chosen is not None and chosen in rows else "")
