"""Speed-ups on several devices, each over that device's own reference. There are no ms: of two devices none compare."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.devices.told import Told
from bench.report.figures import base
from bench.report.subject import Row
from bench.report.views import Figure

ROW_PX, NAME_PX, AROUND_PX = 15, 26, 90
"""Height of a row, of a device's name above its rows, and of what is around all: axis and legends."""


def devices(told: Sequence[Told], identity: str, model: str) -> Figure | None:
    """Of one model; None if no device has a speed-up of it."""
    pairs = [(one, row) for one in told for row in theme.ordered(one.rows) if row.ranked and row.speed_up]
    if not pairs:
        return None
    values = [
        {
            **base.about(row),
            "device": one.device.name,
            "speed_up": base.short(row.speed_up.median),
            "low": base.short(row.speed_up.low),
            "high": base.short(row.speed_up.high),
            "over": one.reference,
        }
        for one, row in pairs
        if row.speed_up
    ]
    text = _words(told, pairs)
    return Figure(identity, f"{model}: speed-up, device by device", text, _spec(told, pairs, values, text))


def _spec(told: Sequence[Told], pairs: Sequence[tuple[Told, Row]], values: base.Values, text: str) -> dict[str, object]:
    shown = [row for _, row in pairs]
    names = list(dict.fromkeys(one.device.name for one in told))
    rows = list(dict.fromkeys(row.name for row in theme.ordered(shown)))
    x = alt.X(
        "low:Q",
        title="speed-up over the device's own reference, 95 % interval",
        scale=alt.Scale(type="log", nice=False, padding=36),
        axis=alt.Axis(format="~g", tickCount=6),
    )
    within = ROW_PX * len(rows)
    step = within + NAME_PX
    free = NAME_PX / step
    scale = alt.Scale(domain=names, paddingInner=free, paddingOuter=free)
    y = alt.Y("device:N", sort=names, title=None, scale=scale, axis=alt.Axis(labels=False, ticks=False))
    beside = alt.YOffset("row:N", sort=rows, scale=alt.Scale(domain=rows))
    layers: list[alt.Chart] = []
    bands = [
        {"device": one.device.name, "from": base.short(one.control.low), "to": base.short(one.control.high)}
        for one in told
        if one.control is not None
    ]
    if bands:
        tips = base.tooltip(device="device:N", A_and_A_from="from:Q", to="to:Q")
        band = alt.Chart(base.data(bands)).mark_rect(color=theme.BAND, opacity=0.6)
        layers.append(band.encode(x="from:Q", x2="to:Q", y=y, tooltip=tips))
    one = alt.Chart(base.data([{"at": 1}])).mark_rule(color=theme.QUIET, strokeDash=[3, 3])
    layers.append(one.encode(x="at:Q"))
    points = alt.Chart(base.data(values))
    tips = base.tooltip(
        device="device:N",
        row="row:N",
        speed_up="speed_up:Q",
        low="low:Q",
        high="high:Q",
        over="over:N",
        verdict="verdict:N",
    )
    layers += [
        points.mark_rule(strokeWidth=2).encode(
            x=x, x2="high:Q", y=y, yOffset=beside, color=base.colour(shown), tooltip=tips
        ),
        points.mark_point(filled=True, size=70, opacity=1).encode(
            x="speed_up:Q", y=y, yOffset=beside, color=base.colour(shown), shape=base.shape(shown), tooltip=tips
        ),
    ]
    called = alt.Chart(base.data([{"device": name} for name in names]))
    layers.append(
        called.mark_text(
            align="left", baseline="bottom", dx=5, dy=-within / 2 - 3, color=theme.INK, fontSize=12
        ).encode(x=alt.value(0), y=y, text="device:N")
    )
    return base.finish(alt.layer(*layers), AROUND_PX + len(names) * step + NAME_PX, text)


def _words(told: Sequence[Told], pairs: Sequence[tuple[Told, Row]]) -> str:
    """Of each device its own rows: nothing is said of one device against another."""
    said = []
    for one in told:
        ups = [(row.name, row.speed_up) for of, row in pairs if of is one and row.speed_up]
        each = ", ".join(f"{name} {up.median:.2f} [{up.low:.2f}, {up.high:.2f}]" for name, up in ups)
        over = f" over {one.reference}" if one.reference else ""
        said.append(f"{one.device.name}{over}: {each}" if ups else f"{one.device.name}: no speed-up")
    return "; ".join(said) + "."
