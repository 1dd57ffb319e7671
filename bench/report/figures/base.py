"""What all figures share: scales, legends, size, and how a specification is finished."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from bench.report import theme
from bench.report.subject import Row

Chart = alt.Chart | alt.LayerChart | alt.FacetChart
Values = Sequence[Mapping[str, Any]]

MARK_SIZE = 110
HANDLES = 32
"""Points of a line that can be pointed at; more only make the page larger."""


def short(value: float) -> float:
    """Five significant digits: what a picture can show, and no more bytes than that."""
    return float(f"{value:.5g}")


def handles(values: Values, points: int) -> list[Mapping[str, Any]]:
    """Of lines with so many points each, those that can be pointed at."""
    return list(values[:: max(1, points // HANDLES)])


def data(values: Values) -> alt.Data:
    """Inline data."""
    return alt.Data(values=list(values))  # type: ignore[no-untyped-call]


def about(row: Row) -> dict[str, str]:
    """What every point says of its row."""
    return {"runtime": row.runtime, "precision": row.precision, "row": row.name, "verdict": row.verdict}


def colour(rows: Iterable[Row]) -> alt.Color:
    """By runtime; the legend has those that are there."""
    names = list(dict.fromkeys(row.runtime for row in theme.ordered(rows)))
    scale = alt.Scale(domain=names, range=[theme.colour(name) for name in names])
    return alt.Color("runtime:N", scale=scale, sort=None, legend=legend("runtime"))


def shape(rows: Iterable[Row]) -> alt.Shape:
    """By precision."""
    names = _precisions(rows)
    scale = alt.Scale(domain=names, range=[theme.MARKS.get(name, theme.OTHER_MARK) for name in names])
    return alt.Shape("precision:N", scale=scale, sort=None, legend=legend("precision"))


def dash(rows: Iterable[Row]) -> alt.StrokeDash:
    """By precision, of lines."""
    names = _precisions(rows)
    scale = alt.Scale(domain=names, range=[theme.DASHES.get(name, theme.OTHER_DASH) for name in names])
    return alt.StrokeDash("precision:N", scale=scale, sort=None, legend=legend("precision", symbolSize=500))


def legend(title: str, **more: Any) -> alt.Legend:
    """Below the figure, where it takes no width."""
    return alt.Legend(title=title, orient="bottom", direction="horizontal", columns=5, columnPadding=14, **more)


def tooltip(**fields: str) -> list[alt.Tooltip]:
    """``label="field:Q"``; figures with four digits. An underscore in a label is a space."""
    return [
        alt.Tooltip(field, title=label.replace("_", " "), format=".4" if field.endswith(":Q") else alt.Undefined)
        for label, field in fields.items()
    ]


def finish(chart: Chart, height: int, alt_text: str) -> dict[str, Any]:
    """The specification, in the size and the style of all."""
    quiet: dict[str, Any] = {"labelColor": theme.QUIET, "titleColor": theme.INK, "labelFontSize": 12}
    axis = {**quiet, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": theme.GRID}
    symbols = {"symbolBaseStrokeColor": theme.QUIET, "symbolBaseFillColor": theme.QUIET}
    styled = (
        chart.properties(
            width=theme.WIDTH,
            height=height,
            autosize=alt.AutoSizeParams(type="fit", contains="padding"),
            description=alt_text,
        )
        .configure(font=theme.FONT, background="transparent", padding=4, aria=False)
        .configure_view(stroke=None)
        .configure_axis(**axis, domainColor=theme.QUIET, tickColor=theme.QUIET, labelLimit=220)
        .configure_legend(**quiet, titleFontSize=12, titleFontWeight="normal", symbolStrokeWidth=2, **symbols)
    )
    return dict(styled.to_dict())


def _precisions(rows: Iterable[Row]) -> list[str]:
    names = {row.precision for row in rows}
    return sorted(names, key=lambda name: theme.place("", name)[2:])
