"""Test the marks, encodings and data of each chart. Layout and wording are free to change.

After an intended change write the golden files again, and read the difference:
``python -m tests.bench.report.test_charts``.
"""

import json
from functools import cache
from typing import Any

import altair as alt
import pytest

from bench.report import html, theme
from bench.report.charts.pareto import pareto
from bench.report.charts.speed_up import speed_up
from bench.report.recommend import recommend
from bench.report.views import Chart
from export.common.files import PROJECT
from tests.bench.report.planted import control, evaluation, measurement, row

GOLDEN, GOLDENS = PROJECT / "tests/data/golden/report", ("pareto", "speed-up")
ROWS = (
    row("pytorch", 20.0),
    row("onnxruntime", 8.0),
    row("openvino", 4.0, "int8", error_mm=0.5),
)
UNRANKED = row("onnxruntime-cuda", 1.0, verdict="unstable")
FAILED = row("openvino", 3.0, "bf16", parity={"outcome": "fail", "reason": "", "mean_mm": 9.0, "max_mm": 9.0})


@cache
def charts() -> dict[str, Chart | None]:
    of = measurement(*ROWS, UNRANKED, FAILED, control=control(0.99, 1.01))
    orin, box = (measurement(*ROWS[:2], device=name, model="S") for name in ("orin", "box"))
    evaluated = [
        recommend(measurement(ROWS[1], row("openvino", 4.0), model=model, evaluations=(evaluation(fp32=loss),)))
        for model, loss in (("S", 2.0), ("L", 0.0))
    ]
    return {
        "pareto": pareto([recommend(of)]),
        "pareto-of-models": pareto(evaluated),
        "speed-up": speed_up([recommend(of)]),
        "speed-up-of-devices": speed_up([recommend(orin), recommend(box)]),
    }


def content_of(chart: Chart | None) -> dict[str, Any]:
    """Return marks, encodings and data."""
    assert chart is not None
    layers = []
    for layer in chart.spec["layer"]:
        channels = {
            name: of.get("field") or of.get("value") for name, of in layer["encoding"].items() if name != "tooltip"
        }
        mark = layer["mark"]["type"] + (" (open)" if layer["mark"].get("filled") is False else "")
        values = layer.get("data", {}).get("values", [])
        layers.append({"mark": mark, "encoding": channels, "data": [" ".join(map(str, of.values())) for of in values]})
    shared = [" ".join(map(str, of.values())) for of in chart.spec.get("data", {}).get("values", [])]
    return {"data": shared, "layers": layers}


def text_of(chart: Chart | None) -> str:
    return json.dumps(content_of(chart), indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", GOLDENS)
def test_chart_has_the_marks_encodings_and_data_of_its_golden_file(name: str) -> None:
    assert text_of(charts()[name]) == (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", charts())
def test_chart_follows_the_schema_of_vega_lite(name: str) -> None:
    chart = charts()[name]
    assert chart is not None
    alt.Chart.from_dict(dict(chart.spec))
    with pytest.raises(Exception, match="'planted'"):
        alt.Chart.from_dict({**chart.spec, "layer": [{"mark": "planted"}]})


def test_rows_that_are_not_ranked_or_failed_are_in_no_chart_that_compares() -> None:
    made = charts()
    for name in ("pareto", "speed-up"):
        chart = made[name]
        assert chart is not None
        assert "onnxruntime-cuda" not in json.dumps(chart.spec)
    assert "bf16" not in json.dumps(made["pareto"].spec)  # type: ignore[union-attr]


def test_devices_share_no_chart_with_milliseconds() -> None:
    chart = charts()["speed-up-of-devices"]
    assert chart is not None
    assert "_ms" not in json.dumps(chart.spec)


def test_models_are_compared_by_mpjpe_and_never_by_their_export_errors() -> None:
    chart = charts()["pareto-of-models"]
    assert chart is not None
    assert "MPJPE on Human3.6M" in json.dumps(chart.spec)
    assert pareto([recommend(measurement(*ROWS, model=name)) for name in ("S", "L")]) is None


def test_without_anything_to_draw_there_is_no_chart() -> None:
    of = measurement(UNRANKED)
    choice = recommend(of)
    assert pareto([choice]) is speed_up([choice]) is None


@pytest.mark.parametrize("name", charts())
def test_every_colour_of_a_picture_has_its_dark_one(name: str) -> None:
    chart = charts()[name]
    assert chart is not None
    markup = html.svg(chart.spec)
    used = {word.split('"')[0].lower() for word in markup.replace('stroke="', 'fill="').split('fill="')[1:]}
    assert {colour for colour in used if colour.startswith("#")} <= set(theme.DARK) | {"#4c78a8"}  # unseen handles


def test_specifications_are_of_the_version_that_draws_them() -> None:
    assert alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0] == html.VEGA_LITE


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in GOLDENS:
        (GOLDEN / f"{name}.json").write_text(text_of(charts()[name]), encoding="utf-8")
