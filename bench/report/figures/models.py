"""Several models: the recommended row of each, by what it takes and by how much it has to compute."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.figures import base
from bench.report.subject import Row, Subject
from bench.report.views import Figure


def models(chosen: Sequence[tuple[Subject, Row]]) -> Figure | None:
    """p50 against GMACs, or against MPJPE where all were evaluated on one dataset; None if there are fewer than two."""
    shown = [(subject, row) for subject, row in chosen if row.headline]
    if len(shown) < 2:
        return None
    datasets = {row.accuracy[0].dataset if row.accuracy and row.accuracy[0].mpjpe_mm else None for _, row in shown}
    evaluated = len(datasets) == 1 and None not in datasets
    title = f"MPJPE on {datasets.pop()}, mm" if evaluated else "GMACs for one image"
    values = []
    for subject, row in shown:
        assert row.headline is not None
        cost = row.accuracy[0].mpjpe_mm if evaluated and row.accuracy else subject.macs / 1e9
        values.append(
            {
                **base.about(row),
                "model": subject.model,
                "cost": base.short(cost or 0.0),
                "p50_ms": base.short(row.headline.p50_ms),
                "low": base.short(row.headline.low_ms),
                "high": base.short(row.headline.high_ms),
            }
        )
    said = "; ".join(f"{v['model']}: {v['p50_ms']:.4g} ms with {v['row']}, {v['cost']:.4g}" for v in values)
    alt_text = f"p50 of each model's recommended row, and {title}: {said}."
    return Figure("models", "Models side by side", alt_text, _spec([row for _, row in shown], values, title, alt_text))


def _spec(rows: Sequence[Row], values: base.Values, title: str, alt_text: str) -> dict[str, object]:
    x = alt.X(
        "p50_ms:Q",
        title="p50, ms; the line: lowest to highest round median",
        scale=alt.Scale(zero=True),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y("cost:Q", title=title, scale=alt.Scale(zero=False, padding=30))
    chart = alt.Chart(base.data(values))
    tips = base.tooltip(model="model:N", row="row:N", p50_ms="p50_ms:Q", lowest="low:Q", highest="high:Q")
    layers = alt.layer(
        chart.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=base.colour(rows)),
        chart.mark_point(filled=True, size=base.MARK_SIZE, opacity=1).encode(
            x=x, y=y, color=base.colour(rows), shape=base.shape(rows), tooltip=tips
        ),
        chart.mark_text(dy=-14, color=theme.INK, fontWeight="bold").encode(x=x, y=y, text="model:N"),
    )
    return base.finish(layers, 320, alt_text)
