"""Speed-ups over the reference with their intervals, and the band in which nothing can be told apart."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.figures import base
from bench.report.subject import Row, SpeedUp
from bench.report.views import Figure


def forest(rows: Sequence[Row], control: SpeedUp | None) -> Figure | None:
    """Of all rows that have a speed-up; None if none has one."""
    shown = [row for row in theme.ordered(rows) if row.speed_up is not None]
    if not shown:
        return None
    values = [
        {
            **base.about(row),
            "speed_up": base.short(row.speed_up.median),
            "low": base.short(row.speed_up.low),
            "high": base.short(row.speed_up.high),
            "said": f"{row.speed_up.median:.2f}×",
        }
        for row in shown
        if row.speed_up
    ]
    alt_text = _words(shown, control)
    return Figure("forest", "Speed-up over the reference", alt_text, _spec(shown, values, control, alt_text))


def _spec(rows: Sequence[Row], values: base.Values, control: SpeedUp | None, alt_text: str) -> dict[str, object]:
    names = [row.name for row in rows]
    x = alt.X(
        "low:Q",
        title="speed-up, 95 % interval",
        scale=alt.Scale(type="log", nice=False, padding=36),
        axis=alt.Axis(format="~g", tickCount=6),
    )
    y = alt.Y("row:N", sort=names, title=None, scale=alt.Scale(domain=names))
    layers: list[alt.Chart] = []
    if control is not None:
        ends = [{"from": base.short(control.low), "to": base.short(control.high)}]
        tips = base.tooltip(A_and_A_from="from:Q", to="to:Q")
        band = alt.Chart(base.data(ends)).mark_rect(color=theme.BAND, opacity=0.6)
        layers.append(band.encode(x="from:Q", x2="to:Q", tooltip=tips))
    one = alt.Chart(base.data([{"at": 1}])).mark_rule(color=theme.QUIET, strokeDash=[3, 3])
    layers.append(one.encode(x="at:Q"))
    points = alt.Chart(base.data(values))
    tips = base.tooltip(row="row:N", speed_up="speed_up:Q", low="low:Q", high="high:Q", verdict="verdict:N")
    layers += [
        points.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", y=y, color=base.colour(rows), tooltip=tips),
        points.mark_point(filled=True, size=base.MARK_SIZE, opacity=1).encode(
            x="speed_up:Q", y=y, color=base.colour(rows), shape=base.shape(rows), tooltip=tips
        ),
        points.mark_text(dy=-12, color=theme.INK).encode(x="speed_up:Q", y=y, text="said:N"),
    ]
    return base.finish(alt.layer(*layers), 110 + 34 * len(rows), alt_text)


def _words(rows: Sequence[Row], control: SpeedUp | None) -> str:
    ups = {row.name: row.speed_up for row in rows if row.speed_up is not None}
    best = max(ups, key=lambda name: ups[name].median)
    text = (
        f"{best} is {ups[best].median:.2f} times as fast as the reference [{ups[best].low:.2f}, {ups[best].high:.2f}]"
    )
    slower = [name for name, up in ups.items() if up.high < 1]
    same = [name for name, up in ups.items() if up.same]
    text += f"; slower than it: {', '.join(slower)}" if slower else ""
    text += f"; not told apart from it: {', '.join(same)}" if same else ""
    if control is not None:
        text += f". Two instances of the reference: {control.median:.3f} [{control.low:.3f}, {control.high:.3f}]"
    return text + "."
