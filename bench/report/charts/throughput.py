"""Images a second against the number of images that are worked on at once."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from bench.report.charts import base
from bench.report.rows import in_order, is_ranked, name_of, title
from bench.report.views import Chart
from bench.results.result import Row


def throughput(rows: Sequence[Row]) -> Chart | None:
    """Return the chart of ranked rows; None if none was measured so."""
    measured = [row for row in in_order(rows) if row.throughput and is_ranked(row)]
    if not measured:
        return None
    best = sorted(
        ((row, point) for row in measured if (point := row.best_throughput)), key=lambda point: -point[1].images_per_s
    )
    each = [
        f"{name_of(row)} {point.images_per_s:.0f} at batch {point.batch}, {point.in_flight} in flight"
        for row, point in best
    ]
    alt_text = f"Most images a second, in a closed loop apart from the latency rounds: {'; '.join(each)}."
    row, point = best[0]
    at_once = point.batch * point.in_flight
    message = f"{title(name_of(row))} reaches {point.images_per_s:.0f} images a second, {at_once} at once"
    return Chart("throughput", message, alt_text, _spec(measured, alt_text))


def _spec(rows: Sequence[Row], alt_text: str) -> dict[str, object]:
    values: list[dict[str, Any]] = [
        {
            **base.about(row),
            "batch": point.batch,
            "in_flight": point.in_flight,
            "at_once": point.batch * point.in_flight,
            "images_per_s": base.short(point.images_per_s),
            "p50_ms": base.short(point.p50_ms),
        }
        for row in rows
        for point in row.throughput or ()
    ]
    x = alt.X(
        "at_once:Q",
        title="images at once (open: several calls)",
        scale=alt.Scale(type="log", base=2, nice=False, padding=24),
        axis=alt.Axis(values=sorted({value["at_once"] for value in values}), format="d"),
    )
    y = alt.Y("images_per_s:Q", title="images a second", scale=alt.Scale(zero=True))
    chart = alt.Chart(base.data(values)).encode(x=x, y=y)
    single, several = chart.transform_filter("datum.in_flight == 1"), chart.transform_filter("datum.in_flight > 1")
    tips = base.tooltip(
        row="row:N", batch="batch:Q", in_flight="in_flight:Q", images_a_second="images_per_s:Q", p50_ms="p50_ms:Q"
    )
    layers = alt.layer(
        single.mark_line(strokeWidth=1.4).encode(color=base.colour(rows), detail="row:N", strokeDash=base.dash(rows)),
        single.mark_point(filled=True, size=70, opacity=0.9).encode(
            color=base.colour(rows), shape=base.shape(rows), tooltip=tips
        ),
        several.mark_point(filled=False, size=70).encode(color=base.colour(rows), shape=base.shape(rows), tooltip=tips),
    )
    return base.finish(layers, 230, alt_text)
