"""Images a second, and what a call then takes, against how many images are given at a time."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.figures import base
from bench.report.subject import Row, ThroughputPoint
from bench.report.views import Figure


def throughput(rows: Sequence[Row]) -> Figure | None:
    """None if no row that is ranked was measured so."""
    shown = _measured(rows)
    if not shown:
        return None
    best = {row.name: max(row.throughput, key=lambda of: of.images_per_s) for row in shown}
    first = max(best, key=lambda name: best[name].images_per_s)
    text = f"Most images a second: {first} with {best[first].images_per_s:.0f}, {_how(best[first])}; "
    text += "; ".join(f"{name} {of.images_per_s:.0f} {_how(of)}" for name, of in best.items() if name != first)
    alt_text = text.rstrip("; ") + "."
    return Figure("throughput", "Images a second", alt_text, _spec(shown, "images_per_s", "images a second", alt_text))


def batch_latency(rows: Sequence[Row]) -> Figure | None:
    """What a call takes at each of these points."""
    shown = _measured(rows)
    if not shown:
        return None
    said = []
    for row in shown:
        last = max(row.throughput, key=lambda of: (of.batch, -of.in_flight))
        said.append(f"{row.name} {last.p50_ms:.1f} ms {_how(last)}")
    alt_text = f"p50 of a call at the largest batch of each: {'; '.join(said)}."
    return Figure(
        "batch-latency", "What a call then takes", alt_text, _spec(shown, "p50_ms", "p50 of a call, ms", alt_text)
    )


def _measured(rows: Sequence[Row]) -> list[Row]:
    return [row for row in theme.ordered(rows) if row.throughput and row.ranked]


def _spec(rows: Sequence[Row], field: str, title: str, alt_text: str) -> dict[str, object]:
    values = [
        {
            **base.about(row),
            "batch": of.batch,
            "in_flight": of.in_flight,
            "images_per_s": base.short(of.images_per_s),
            "p50_ms": base.short(of.p50_ms),
        }
        for row in rows
        for of in row.throughput
    ]
    batches = sorted({of.batch for row in rows for of in row.throughput})
    x = alt.X(
        "batch:Q",
        title="images at a time",
        scale=alt.Scale(type="log", base=2, nice=False, padding=24),
        axis=alt.Axis(values=batches, format="d"),
    )
    y = alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=True))
    chart = alt.Chart(base.data(values)).encode(x=x, y=y)
    one = chart.transform_filter("datum.in_flight == 1")
    many = chart.transform_filter("datum.in_flight > 1")
    tips = base.tooltip(
        row="row:N",
        images_at_a_time="batch:Q",
        in_flight="in_flight:Q",
        images_a_second="images_per_s:Q",
        p50_ms="p50_ms:Q",
    )
    layers = [
        one.mark_line(strokeWidth=1.4).encode(color=base.colour(rows), detail="row:N", strokeDash=base.dash(rows)),
        one.mark_point(filled=True, size=70, opacity=0.9).encode(
            color=base.colour(rows), shape=base.shape(rows), tooltip=tips
        ),
        many.mark_point(filled=False, size=70).encode(color=base.colour(rows), shape=base.shape(rows), tooltip=tips),
    ]
    return base.finish(alt.layer(*layers), 300, alt_text)


def _how(of: ThroughputPoint) -> str:
    return f"at batch {of.batch}" + (f" with {of.in_flight} calls in flight" if of.in_flight > 1 else "")
