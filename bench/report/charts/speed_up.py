"""Speed-ups with their intervals, each over the reference of its own measurement."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.charts import base
from bench.report.measurement import Measurement
from bench.report.recommend import Choice
from bench.report.rows import in_order, is_ranked, name_of, title
from bench.report.views import Chart
from bench.results.result import Row, SpeedUp


def speed_up(choices: Sequence[Choice]) -> Chart | None:
    """Return the chart of all rows that have a speed-up; there are no milliseconds, so devices may share it."""
    pairs = [
        (choice.measurement, row)
        for choice in choices
        for row in in_order(choice.measurement.rows)
        if row.speed_up and is_ranked(row)
    ]
    if not pairs:
        return None
    several = len(choices) > 1
    values = [_value(measurement, row, several=several) for measurement, row in pairs]
    alt_text = _words(values, [row.speed_up for _, row in pairs])
    return Chart("speed-up", _message(choices), alt_text, _spec([row for _, row in pairs], values, alt_text))


def _message(choices: Sequence[Choice]) -> str:
    if len(choices) > 1:
        return "Each row over the reference of its own device"
    row, reference = choices[0].row, title(choices[0].measurement.reference)
    if row is None or row.speed_up is None:
        return f"Speed-up over {reference}"
    return f"{title(name_of(row))} is {row.speed_up.median:.1f}× as fast as {reference}"


def _value(measurement: Measurement, row: Row, *, several: bool) -> dict[str, object]:
    up, control = row.speed_up, measurement.control
    assert up is not None
    value: dict[str, object] = {
        **base.about(row),
        "line": f"{measurement.label}: {name_of(row)}" if several else name_of(row),
        "over": measurement.reference,
        "speed_up": base.short(up.median),
        "low": base.short(up.low),
        "high": base.short(up.high),
        "label": f"{up.median:.2f}×",
    }
    if control is not None:
        value |= {"same_from": base.short(control.low), "same_to": base.short(control.high)}
    return value


def _spec(rows: Sequence[Row], values: base.Values, alt_text: str) -> dict[str, object]:
    names = [value["line"] for value in values]
    x = alt.X(
        "low:Q",
        title="speed-up, 95 % interval (grey: noise)",
        scale=alt.Scale(type="log", nice=False, padding=36),
        axis=alt.Axis(format="~g", tickCount=6),
    )
    y = alt.Y("line:N", sort=names, title=None, scale=alt.Scale(domain=names))
    points = alt.Chart(base.data(values))
    tips = base.tooltip(row="line:N", speed_up="speed_up:Q", low="low:Q", high="high:Q", over="over:N")
    layers = alt.layer(
        points.transform_filter("isValid(datum.same_from)")
        .mark_bar(color=theme.BAND, opacity=0.6, height={"band": 1})
        .encode(x="same_from:Q", x2="same_to:Q", y=y),
        alt.Chart(base.data([{"at": 1}])).mark_rule(color=theme.QUIET, strokeDash=[3, 3]).encode(x="at:Q"),
        points.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", y=y, color=base.colour(rows), tooltip=tips),
        points.mark_point(filled=True, size=base.MARK_SIZE, opacity=1).encode(
            x="speed_up:Q", y=y, color=base.colour(rows), shape=base.shape(rows), tooltip=tips
        ),
        points.mark_text(dy=-12, color=theme.INK).encode(x="speed_up:Q", y=y, text="label:N"),
    )
    return base.finish(layers, 34 * len(names), alt_text)


def _words(values: base.Values, speed_ups: Sequence[SpeedUp | None]) -> str:
    """Say each speed-up; nothing is said of one device against another."""
    texts = [
        f"{value['line']} {up.median:.2f} [{up.low:.2f}, {up.high:.2f}]"
        + ", not distinguished from the reference" * up.same
        for value, up in zip(values, speed_ups, strict=True)
        if up
    ]
    return f"{'; '.join(texts)}. Within the grey band, two instances of the reference, rows are equally fast."
