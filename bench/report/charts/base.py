"""Scales, legends, size and style of all charts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
from altair.utils.schemapi import disable_debug_mode

from bench.report import theme
from bench.report.rows import in_order, name_of
from bench.results.result import Row

AnyChart = alt.Chart | alt.LayerChart | alt.FacetChart
Value = Mapping[str, Any]
Values = Sequence[Value]

MARK_SIZE = 110

disable_debug_mode()
"""Altair would check each part of a chart against Vega-Lite's schema, in half of a report's time; a test checks it."""


def short(value: float) -> float:
    """Round to five significant digits: more are bytes that no picture shows."""
    return float(f"{value:.5g}")


def data(values: Values) -> alt.Data:
    """Return inline data."""
    return alt.Data(values=list(values))  # type: ignore[no-untyped-call]


def about(row: Row) -> dict[str, str]:
    """Return the fields of a row that every mark has."""
    return {"runtime": row.runtime, "precision": row.precision, "row": name_of(row), "verdict": row.verdict}


def colour(rows: Iterable[Row]) -> alt.Color:
    """Encode the runtime."""
    names = list(dict.fromkeys(row.runtime for row in in_order(rows)))
    scale = alt.Scale(domain=names, range=[theme.colour(name) for name in names])
    return alt.Color("runtime:N", scale=scale, sort=None, legend=legend("runtime"))


def shape(rows: Iterable[Row]) -> alt.Shape:
    """Encode the precision of a mark."""
    names = sorted({row.precision for row in rows}, key=lambda name: theme.order_key("", name)[2:])
    scale = alt.Scale(domain=names, range=[theme.MARKS.get(name, theme.OTHER_MARK) for name in names])
    return alt.Shape("precision:N", scale=scale, sort=None, legend=legend("precision"))


def legend(title: str, **more: Any) -> alt.Legend:
    """Return a legend below the chart, where it takes no width."""
    return alt.Legend(title=title, orient="bottom", direction="horizontal", columns=5, columnPadding=14, **more)


def tooltip(**fields: str) -> list[alt.Tooltip]:
    """Return tooltips from ``label="field:Q"``; an underscore in a label becomes a space."""
    return [
        alt.Tooltip(field, title=label.replace("_", " "), format=".4" if field.endswith(":Q") else alt.Undefined)
        for label, field in fields.items()
    ]


def finish(chart: AnyChart, height: int, alt_text: str) -> dict[str, Any]:
    """Return the specification, in the size and the style of all charts; a y-title lies above, where it has room."""
    quiet: dict[str, Any] = {"labelColor": theme.QUIET, "titleColor": theme.INK, "labelFontSize": 12}
    above = {"titleAngle": 0, "titleAlign": "left", "titleBaseline": "bottom", "titleX": 0, "titleY": -8}
    axis = {**quiet, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": theme.GRID}
    symbols = {"symbolBaseStrokeColor": theme.QUIET, "symbolBaseFillColor": theme.QUIET}
    styled = (
        chart.properties(
            width=theme.WIDTH,
            height=height,
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
            description=alt_text,
        )
        .configure(font=theme.FONT, background="transparent", padding=4, aria=False)
        .configure_view(stroke=None)
        .configure_axis(**axis, domainColor=theme.QUIET, tickColor=theme.QUIET, labelLimit=220)
        .configure_axisY(**above)
        .configure_legend(**quiet, titleFontSize=12, titleFontWeight="normal", symbolStrokeWidth=2, **symbols)
    )
    return dict(styled.to_dict(validate=False))
