"""What each row took in every round: drift and bad moments of the machine show as lines that move together."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.figures import base
from bench.report.subject import Row, StateCurve
from bench.report.views import Figure

DIMMED = 0.35
"""Of lines that are no row's that may be ranked."""


def trace(rows: Sequence[Row]) -> Figure | None:
    """Of all rows that were timed, unstable ones too; None if there are no samples of any."""
    shown = [row for row in theme.ordered(rows) if row.rounds_ms]
    if not shown:
        return None
    values = [{**base.about(row), "round": index, "ms": base.short(ms)} for row in shown for index, ms in row.rounds_ms]
    alt_text = _words(shown)
    x = alt.X("round:Q", title="round", scale=alt.Scale(nice=False), axis=alt.Axis(tickMinStep=1))
    y = alt.Y(
        "ms:Q",
        title="median of the round, ms",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(format="~g"),
    )
    chart = alt.Chart(base.data(values)).encode(x=x, y=y)
    dimmed = alt.condition("datum.verdict == 'unstable'", alt.value(DIMMED), alt.value(1))
    lines = chart.mark_line(strokeWidth=1.4).encode(
        color=base.colour(shown), strokeDash=base.dash(shown), opacity=dimmed, detail=["row:N", "verdict:N"]
    )
    tips = base.tooltip(row="row:N", round="round:Q", ms="ms:Q", verdict="verdict:N")
    seen = base.handles(values, max(len(row.rounds_ms) for row in shown))
    dots = alt.Chart(base.data(seen)).mark_point(size=50, opacity=0).encode(x=x, y=y, tooltip=tips)
    return Figure("trace", "Round by round", alt_text, base.finish(alt.layer(lines, dots), 320, alt_text))


def machine_state(curve: StateCurve) -> Figure:
    """One sensor under the trace, on the same rounds."""
    values = [{"round": index, "value": base.short(value)} for index, value in curve.points]
    seen = [value for _, value in curve.points]
    alt_text = f"{curve.name} in {curve.unit}: from {min(seen):.4g} to {max(seen):.4g} over the rounds."
    chart = alt.Chart(base.data(values)).encode(
        x=alt.X("round:Q", title=None, scale=alt.Scale(nice=False), axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=3), scale=alt.Scale(zero=min(seen) < 100)),
        tooltip=base.tooltip(rounds_over="round:Q", value="value:Q"),
    )
    area = chart.mark_area(color=theme.BAND, line={"color": theme.QUIET, "strokeWidth": 1.2})
    return Figure(
        f"state-{curve.name.lower().replace(' ', '-')}",
        f"{curve.name}, {curve.unit}",
        alt_text,
        base.finish(area, 90, alt_text),
    )


def _words(rows: Sequence[Row]) -> str:
    said = [
        f"{row.name}{'' if row.ranked else f' ({row.verdict}, drawn pale)'} from {min(ms):.2f} to {max(ms):.2f} ms"
        for row in rows
        if (ms := [of[1] for of in row.rounds_ms])
    ]
    return f"Medians of {max(len(row.rounds_ms) for row in rows)} rounds: {'; '.join(said)}."
