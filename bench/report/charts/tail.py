"""The share of calls that took longer than so many milliseconds: the distribution, with its tail drawn large."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.report import theme
from bench.report.charts import base
from bench.report.recommend import Choice
from bench.report.rows import HEADLINE, headline, in_order, is_ranked, name_of, percentile_of, title
from bench.report.views import Chart
from bench.results.result import Row

POINTS = 192
"""Points of each curve; all of them were measured."""
HANDLES = 32
"""Points of each curve with a tooltip; more only make the page larger."""


def tail(choice: Choice, samples: Mapping[str, NDArray[Any]]) -> Chart | None:
    """Return the chart of ranked rows; None if there are no samples of any."""
    rows = in_order(choice.measurement.rows)
    curves = {row.id: slower_than(samples.get(f"{row.id}|{HEADLINE}|samples_ms", ())) for row in rows}
    ranked = [row for row in rows if is_ranked(row) and curves[row.id]]
    if not ranked:
        return None
    values = [
        {**base.about(row), "ms": base.short(ms), "share": base.short(share)}
        for row in ranked
        for ms, share in curves[row.id]
    ]
    alt_text = f"{'; '.join(map(_words, ranked))}."
    deadlines = sorted(
        {deadline.deadline_ms for row in ranked if (latency := headline(row)) for deadline in latency.deadlines}
    )
    return Chart("tail", _message(choice.row), alt_text, _spec(ranked, values, deadlines, alt_text))


def slower_than(samples_ms: ArrayLike, points: int = POINTS) -> list[tuple[float, float]]:
    """Return (ms, share of calls that took longer) at some of the samples: the complement of their distribution.

    Half of the points are spread evenly over the samples, half evenly over the logarithm of the share, so that a tail
    keeps the slowest calls. The slowest call, which no call took longer than, has the share of half a call.
    """
    ordered = np.sort(np.asarray(samples_ms, np.float64))
    count = len(ordered)
    if count == 0:
        return []
    even = np.linspace(0, count - 1, points // 2)
    slow = count - np.geomspace(1, count, points - points // 2)
    chosen = np.unique(np.clip(np.round(np.concatenate([even, slow])), 0, count - 1).astype(int))
    shares = (count - 1 - chosen) / count
    shares[-1] = 0.5 / count
    return [(float(ordered[index]), float(share)) for index, share in zip(chosen, shares, strict=True)]


def _message(row: Row | None) -> str:
    latency = headline(row) if row else None
    slow = percentile_of(latency, 0.99) if latency else None
    if row is None or slow is None or slow.value_ms is None:
        return "How often a call is slow"
    return f"One call in a hundred of {title(name_of(row))} takes longer than {slow.value_ms:.2f} ms"


def _spec(rows: Sequence[Row], values: base.Values, deadlines: Sequence[float], alt_text: str) -> dict[str, object]:
    ms = [float(value["ms"]) for value in values]
    within = [deadline_ms for deadline_ms in deadlines if min(ms) < deadline_ms < max(ms)]
    dashed = f"; dashed: {' and '.join(f'{deadline_ms:g}' for deadline_ms in within)}" if within else ""
    x = alt.X(
        "ms:Q",
        title=f"latency (ms){dashed}",
        scale=alt.Scale(type="log", nice=False, domain=[0.97 * min(ms), 1.03 * max(ms)]),
        axis=alt.Axis(format="~g", tickCount=8),
    )
    y = alt.Y(
        "share:Q",
        title="share of calls that took longer",
        scale=alt.Scale(type="log", nice=False, domain=[min(value["share"] for value in values), 1]),
        axis=alt.Axis(format="~%", values=[1, 0.5, 0.1, 0.01, 0.001, 0.0001]),
    )
    tips = base.tooltip(row="row:N", ms="ms:Q", share_slower="share:Q")
    lines = alt.Chart(base.data(values)).mark_line(interpolate="step-after", strokeWidth=1.8)
    handles = alt.Chart(base.data(values[:: POINTS // HANDLES])).mark_point(size=60, opacity=0)
    layers = [
        lines.encode(x=x, y=y, color=base.colour(rows), strokeDash=base.dash(rows, symbolSize=500), detail="row:N"),
        handles.encode(x=x, y=y, tooltip=tips),
    ]
    if within:
        rule = alt.Chart(base.data([{"ms": deadline_ms} for deadline_ms in within])).encode(x=x)
        layers.append(rule.mark_rule(color=theme.QUIET, strokeDash=[3, 3]))
    return base.finish(alt.layer(*layers), 230, alt_text)


def _words(row: Row) -> str:
    """Say what half, a tenth and a hundredth of the calls took longer than, as far as it is known."""
    latency = headline(row)
    assert latency is not None
    shares = [f"half of the calls took longer than {latency.p50_ms:.2f} ms"]
    for quantile, share in ((0.9, "one in ten"), (0.99, "one in a hundred")):
        tail_record = percentile_of(latency, quantile)
        if tail_record is not None and tail_record.value_ms is not None:
            shares.append(f"{share} than {tail_record.value_ms:.2f}")
    return f"{name_of(row)}: {', '.join(shares)}"
