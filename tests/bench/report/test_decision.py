"""The decision table: of one machine, and with columns for the device and the model."""

import pytest

from bench.accuracy.record import Evaluation
from bench.report.recommend import recommend
from bench.report.rows import HEADLINE
from bench.report.sections.decision import ERROR, MPJPE, decision_table, side_by_side
from bench.report.views import Table
from bench.results.result import Latency, Memory
from bench.stats.statistics import Percentile
from tests.bench.report.planted import evaluation, latency, measurement, row

GOOD, REFERENCE, SLOWER = row("openvino", 5.0), row("pytorch", 20.0), row("onnxruntime", 8.0, "fp16")
UNSTABLE = row("onnxruntime", 1.0, "fp16", verdict="unstable")
INVALID = row("onnxruntime", 1.0, "bf16", verdict="invalid", reasons=["7 mm"])


def with_p99(p50_ms: float) -> Latency:
    p99 = Percentile(quantile=0.99, value_ms=2 * p50_ms, upper_ms=3 * p50_ms, floor=662)
    return latency(p50_ms).model_copy(update={"percentiles": [p99]})


def texts(table: Table) -> list[dict[str, str]]:
    return [{name: cell.text for name, cell in zip(table.columns, line.cells, strict=True)} for line in table.lines]


def test_rows_that_are_not_ranked_are_greyed_and_have_no_figures_to_compare() -> None:
    table = decision_table([recommend(measurement(GOOD, UNSTABLE, INVALID, REFERENCE))], "pytorch fp32")
    assert [of["row"] for of in texts(table)] == [
        "openvino fp32",
        "pytorch fp32",
        "onnxruntime fp16",
        "onnxruntime bf16",
    ]
    assert [line.standing for line in table.lines] == ["chosen", "", "greyed", "greyed"]
    good, _, unstable, invalid = texts(table)
    assert (unstable["speed-up"], invalid["p50 (ms)"], good["speed-up"]) == ("–", "–", "4.00")
    assert unstable["p50 (ms)"] == "0.90 to 1.10"
    assert unstable["later than 16.7 ms"] == "–"
    assert table.lines[3].cells[table.columns.index("verdict")].note == "7 mm"
    assert (unstable["calls"], "device" in unstable) == ("700", False)


@pytest.mark.parametrize(("evaluations", "error"), [((), ERROR), ((evaluation(fp32=1.0),), MPJPE)])
def test_the_first_columns_are_the_six_of_a_decision(evaluations: tuple[Evaluation, ...], error: str) -> None:
    memory = Memory(peak_mib=120)
    rows = (row("openvino", 5.0, memory=memory, latency={HEADLINE: with_p99(5.0)}), REFERENCE)
    table = decision_table([recommend(measurement(*rows, evaluations=evaluations))], "pytorch fp32")
    assert table.brief == table.columns[:6] == ("row", error, "p50 (ms)", "p99 (ms)", "speed-up", "memory (MiB)")


def test_winner_is_first_and_the_others_are_by_speed() -> None:
    """The fastest is int8, which was not evaluated; the reference has no place of its own."""
    rows = (REFERENCE, row("onnxruntime", 30.0), row("openvino", 2.0, "int8"), row("openvino", 4.0), SLOWER)
    table = decision_table([recommend(measurement(*rows))], "pytorch fp32")
    assert [of["p50 (ms)"] for of in texts(table)] == ["4.00", "2.00", "8.00", "20.00", "30.00"]


def test_int8_that_was_not_evaluated_is_said_to_be_within_its_budget_and_no_more() -> None:
    rows = (row("openvino", 2.0, "int8", error_mm=4.0), row("openvino", 5.0), REFERENCE)
    for evaluations, tone in (((), "warn"), ((evaluation(int8=0.4),), "good")):
        choice = recommend(measurement(*rows, evaluations=evaluations))
        table = decision_table([choice], "pytorch fp32")
        cells = {line.cells[0].text: line.cells[table.columns.index("parity")] for line in table.lines}
        assert cells["openvino int8"].text == "within the INT8 budget (mean ≤ 5 mm)"
        assert (cells["openvino int8"].note == "accuracy not evaluated", cells["openvino int8"].tone) == (
            tone == "warn",
            tone,
        )
        assert cells["openvino fp32"].text == "pass"


def test_several_devices_are_the_same_table_with_a_column() -> None:
    choices = [recommend(measurement(GOOD, REFERENCE, device=name)) for name in ("orin", "box")]
    table = decision_table(choices, "pytorch fp32")
    assert table.columns[:2] == ("device", "row")
    assert [(of["device"], of["row"]) for of in texts(table)] == [
        (device, name) for device in ("orin", "box") for name in ("openvino fp32", "pytorch fp32")
    ]


def test_side_by_side_has_the_recommended_row_of_each_or_why_there_is_none() -> None:
    rows = (GOOD, REFERENCE)
    choices = [recommend(measurement(*rows, model="S")), recommend(measurement(model="L", missing="it failed"))]
    (table,) = side_by_side(choices).tables
    first, second = texts(table)
    assert (first["model"], first["row"], second["model"], second["row"]) == ("S", "openvino fp32", "L", "not run")
    assert [line.standing for line in table.lines] == ["", "greyed"]
    assert "it failed" in {cell.note for cell in table.lines[1].cells}
