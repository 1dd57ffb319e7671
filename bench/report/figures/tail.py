"""Which share of the calls took longer than so many ms: the distribution, with its tail drawn large."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.figures import base
from bench.report.subject import Row
from bench.report.views import Figure


def tail(rows: Sequence[Row]) -> Figure | None:
    """Of rows that are ranked; None if there are no samples of any."""
    shown = [row for row in theme.ordered(rows) if row.slower]
    if not shown:
        return None
    values = [
        {**base.about(row), "ms": base.short(ms), "share": base.short(share)}
        for row in shown
        for ms, share in row.slower
    ]
    alt_text = _words(shown)
    deadlines = sorted({of.deadline_ms for row in shown if row.headline for of in row.headline.misses})
    return Figure("tail", "How often a call is slow", alt_text, _spec(shown, values, deadlines, alt_text))


def _spec(rows: Sequence[Row], values: base.Values, deadlines: Sequence[float], alt_text: str) -> dict[str, object]:
    ms = [value["ms"] for value in values]
    x = alt.X(
        "ms:Q",
        title="latency, ms",
        scale=alt.Scale(type="log", nice=False, domain=[0.97 * min(ms), 1.03 * max(ms)]),
        axis=alt.Axis(format="~g", tickCount=8),
    )
    y = alt.Y(
        "share:Q",
        title="share of calls that took longer",
        scale=alt.Scale(type="log", nice=False, domain=[min(value["share"] for value in values), 1]),
        axis=alt.Axis(format="~%", values=[1, 0.5, 0.1, 0.01, 0.001, 0.0001]),
    )
    layers: list[alt.Chart] = []
    within = [{"ms": of, "said": f"{of:g} ms"} for of in deadlines if min(ms) < of < max(ms)]
    if within:
        rule = alt.Chart(base.data(within)).encode(x=x)
        layers.append(rule.mark_rule(color=theme.QUIET, strokeDash=[3, 3]))
        layers.append(
            rule.mark_text(color=theme.QUIET, align="left", dx=4, baseline="top").encode(text="said:N", y=alt.value(2))
        )
    tips = base.tooltip(row="row:N", ms="ms:Q", share_slower="share:Q")
    lines = alt.Chart(base.data(values)).mark_line(interpolate="step-after", strokeWidth=1.8)
    layers.append(lines.encode(x=x, y=y, color=base.colour(rows), strokeDash=base.dash(rows), detail="row:N"))
    seen = base.handles(values, max(len(row.slower) for row in rows))
    dots = alt.Chart(base.data(seen)).mark_point(size=60, opacity=0)
    layers.append(dots.encode(x=x, y=y, tooltip=tips))
    return base.finish(alt.layer(*layers), 360, alt_text)


def _words(rows: Sequence[Row]) -> str:
    """Of each row what half, a tenth and a hundredth of its calls took longer than, as far as that is known."""
    said = []
    for row in rows:
        timing = row.headline
        if timing is None:
            continue
        shares = [f"half of the calls took longer than {timing.p50_ms:.2f} ms"]
        for quantile, share in ((0.9, "one in ten"), (0.99, "one in a hundred")):
            tail_of = timing.tail(quantile)
            if tail_of is not None and tail_of.value_ms is not None:
                shares.append(f"{share} than {tail_of.value_ms:.2f}")
        said.append(f"{row.name}: {', '.join(shares)}, the slowest of {timing.samples} took {row.slower[-1][0]:.2f}")
    return "; ".join(said) + "."
