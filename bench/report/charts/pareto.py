"""Latency against accuracy: MPJPE where every row was evaluated, otherwise the export error."""

from collections.abc import Sequence

import altair as alt

from bench.report import theme
from bench.report.charts import base
from bench.report.recommend import Choice
from bench.report.rows import error_mm, headline, in_order, is_ranked, title
from bench.report.views import Chart
from bench.results.result import Row
from bench.sessions.exported import TORCH_FORMS
from export.parity.budgets import PASS

SMALLEST_MM = 1e-4
"""A logarithmic axis has no zero; smaller export errors are drawn here."""


def pareto(choices: Sequence[Choice]) -> Chart | None:
    """Return the chart of ranked rows that passed their parity; of several models only the recommended rows.

    Returns:
        None with fewer than two such rows; and of several models unless all rows were evaluated on one dataset, because
        the export errors of two models do not compare.
    """
    several = len(choices) > 1
    pairs = [
        (choice, row)
        for choice in choices
        for row in in_order(choice.measurement.rows)
        if _is_shown(row) and (row is choice.row or not several)
    ]
    dataset = _common_dataset(pairs)
    if len(pairs) < 2 or (dataset is None and several):
        return None
    values = [_value(choice, row, evaluated=dataset is not None, several=several) for choice, row in pairs]
    error_name = f"MPJPE on {dataset} (mm)" if dataset else "mean export error (mm)"
    fastest, best = _point(values, "p50_ms"), _point(values, "mm")
    alt_text = f"{len(values)} rows by p50 and {error_name}. Fastest: {fastest}. Most accurate: {best}."
    alt_text += "".join(f" Recommended: {value['name']}." for value in values if value["chosen"])
    spec = _spec([row for _, row in pairs], values, error_name, alt_text, linear=dataset is not None)
    files = [value for value, (_, row) in zip(values, pairs, strict=True) if row.runtime not in TORCH_FORMS]
    return Chart("pareto", _message(files or values), alt_text, spec)


def _is_shown(row: Row) -> bool:
    passed = row.parity is not None and row.parity["outcome"] == PASS
    return is_ranked(row) and headline(row) is not None and passed and error_mm(row) is not None


def _common_dataset(pairs: Sequence[tuple[Choice, Row]]) -> str | None:
    """Return the dataset that all rows were evaluated on."""
    first = [next(iter(choice.measurement.accuracy_of(row)), None) for choice, row in pairs]
    names = {accuracy.dataset.name if accuracy else None for accuracy in first}
    return names.pop() if len(names) == 1 else None


def _value(choice: Choice, row: Row, *, evaluated: bool, several: bool) -> dict[str, object]:
    latency, accuracies = headline(row), choice.measurement.accuracy_of(row) if evaluated else []
    assert latency is not None
    cost = accuracies[0].mpjpe_mm if accuracies else max(SMALLEST_MM, error_mm(row) or 0.0)
    about = base.about(row)
    return {
        **about,
        "name": f"{choice.measurement.model}: {about['row']}" if several else about["row"],
        "p50_ms": base.short(latency.p50_ms),
        "mm": base.short(cost),
        "chosen": row is choice.row,
        "label": choice.measurement.model if several else "",
    }


def _message(values: base.Values) -> str:
    fastest, best = (min(values, key=lambda value: float(value[axis]))["name"] for axis in ("p50_ms", "mm"))
    if fastest == best:
        return f"{title(fastest)} is fastest and has the smallest error"
    return f"{title(fastest)} is fastest, {title(best)} has the smallest error"


def _point(values: base.Values, axis: str) -> str:
    value = min(values, key=lambda value: float(value[axis]))
    return f"{value['name']} ({value['p50_ms']:.4g} ms, {value['mm']:.3g} mm)"


def _spec(
    rows: Sequence[Row], values: base.Values, error_name: str, alt_text: str, *, linear: bool
) -> dict[str, object]:
    x = alt.X("p50_ms:Q", title="p50 (ms); ring: recommended", scale=alt.Scale(type="log", nice=False, padding=30))
    y = alt.Y(
        "mm:Q",
        title=error_name,
        scale=alt.Scale(zero=False, padding=30) if linear else alt.Scale(type="log", nice=False, padding=30),
        axis=alt.Axis() if linear else alt.Axis(values=[10**power for power in range(-4, 4)], format="~g"),
    )
    tips = base.tooltip(row="name:N", p50_ms="p50_ms:Q", mm="mm:Q", verdict="verdict:N")
    points = alt.Chart(base.data(values)).encode(x=x, y=y)
    marks = points.mark_point(filled=True, size=base.MARK_SIZE, opacity=0.9)
    layers = [marks.encode(color=base.colour(rows), shape=base.shape(rows), tooltip=tips)]
    if chosen := [value for value in values if value["chosen"]]:
        rings = alt.Chart(base.data(chosen)).encode(x=x, y=y)
        layers.insert(0, rings.mark_point(size=500, color=theme.CHOSEN, strokeWidth=2))
    if any(value["label"] for value in values):
        layers.append(points.mark_text(dy=-20, color=theme.INK, fontWeight="bold").encode(text="label:N"))
    return base.finish(alt.layer(*layers), 230, alt_text)
