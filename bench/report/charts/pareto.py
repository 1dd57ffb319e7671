"""Latency against accuracy: MPJPE where every row was evaluated, otherwise the export error."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.charts import base
from bench.report.recommend import Choice
from bench.report.rows import error_mm, headline, in_order, is_ranked
from bench.report.views import Chart
from bench.results.result import Row
from export.parity.budgets import PASS

SMALLEST_MM = 1e-4
"""A logarithmic axis has no zero; smaller export errors are drawn here."""


def pareto(choices: Sequence[Choice]) -> Chart | None:
    """Return the chart of ranked rows that passed their parity.

    Returns:
        None with fewer than two such rows; and of several models unless all rows were evaluated on one dataset, because
        the export errors of two models do not compare.
    """
    pairs = [(choice, row) for choice in choices for row in in_order(choice.measurement.rows) if _is_shown(row)]
    if len(pairs) < 2:
        return None
    dataset = _common_dataset(pairs)
    if dataset is None and len(choices) > 1:
        return None
    values = [_value(choice, row, evaluated=dataset is not None, several=len(choices) > 1) for choice, row in pairs]
    error_name = f"MPJPE on {dataset} (mm)" if dataset else "mean export error (mm)"
    alt_text = _words(values, error_name)
    spec = _spec([row for _, row in pairs], values, error_name, alt_text, linear=dataset is not None)
    return Chart("pareto", "Latency against accuracy", alt_text, spec)


def _is_shown(row: Row) -> bool:
    passed = row.parity is not None and row.parity["outcome"] == PASS
    return is_ranked(row) and headline(row) is not None and passed and error_mm(row) is not None


def _mpjpe(choice: Choice, row: Row) -> tuple[str, float] | None:
    errors = [(accuracy.dataset.name, accuracy.evaluated.mpjpe_mm) for accuracy in choice.measurement.accuracy_of(row)]
    return next(((name, mm) for name, mm in errors if mm is not None), None)


def _common_dataset(pairs: Sequence[tuple[Choice, Row]]) -> str | None:
    names = {(_mpjpe(choice, row) or (None,))[0] for choice, row in pairs}
    return names.pop() if len(names) == 1 else None


def _value(choice: Choice, row: Row, *, evaluated: bool, several: bool) -> dict[str, object]:
    latency, mpjpe = headline(row), _mpjpe(choice, row)
    assert latency is not None
    cost = mpjpe[1] if evaluated and mpjpe else max(SMALLEST_MM, error_mm(row) or 0.0)
    return {
        **base.about(row),
        "model": choice.measurement.model,
        "p50_ms": base.short(latency.p50_ms),
        "mm": base.short(cost),
        "label": (choice.measurement.model if several else "recommended") if row is choice.row else "",
    }


def _spec(
    rows: Sequence[Row], values: base.Values, error_name: str, alt_text: str, *, linear: bool
) -> dict[str, object]:
    x = alt.X("p50_ms:Q", title="p50 (ms)", scale=alt.Scale(type="log", nice=False, padding=56))
    y = alt.Y(
        "mm:Q",
        title=error_name,
        scale=alt.Scale(zero=False, padding=30) if linear else alt.Scale(type="log", nice=False, padding=30),
        axis=alt.Axis() if linear else alt.Axis(values=[10**power for power in range(-4, 4)], format="~g"),
    )
    tips = base.tooltip(model="model:N", row="row:N", p50_ms="p50_ms:Q", mm="mm:Q", verdict="verdict:N")
    points = alt.Chart(base.data(values)).encode(x=x, y=y)
    chosen = points.transform_filter("datum.label != ''")
    layers = alt.layer(
        chosen.mark_point(size=500, color=theme.CHOSEN, strokeWidth=2),
        points.mark_point(filled=True, size=base.MARK_SIZE, opacity=0.9).encode(
            color=base.colour(rows), shape=base.shape(rows), tooltip=tips
        ),
        chosen.mark_text(dy=-20, color=theme.CHOSEN, fontWeight="bold").encode(text="label:N"),
    )
    return base.finish(layers, 340, alt_text)


def _words(values: base.Values, error_name: str) -> str:
    fastest = min(values, key=lambda value: float(str(value["p50_ms"])))
    best = min(values, key=lambda value: float(str(value["mm"])))
    chosen = [f"{value['model']}: {_point(value)}" for value in values if value["label"]]
    text = f"{len(values)} rows by p50 and {error_name}. Fastest: {_point(fastest)}. Most accurate: {_point(best)}."
    return text + (f" Recommended: {'; '.join(chosen)}." if chosen else "")


def _point(value: base.Value) -> str:
    return f"{value['row']} ({value['p50_ms']:.4g} ms, {value['mm']:.3g} mm)"
