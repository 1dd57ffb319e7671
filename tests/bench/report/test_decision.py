"""The decision table: of one machine, and with columns for the device and the model."""

from bench.report.recommend import recommend
from bench.report.sections.decision import decision_table, side_by_side
from bench.report.views import Table
from tests.bench.report.planted import measurement, row

GOOD, REFERENCE = row("openvino", 5.0), row("pytorch", 20.0)
UNSTABLE = row("onnxruntime", 1.0, "fp16", verdict="unstable")
INVALID = row("onnxruntime", 1.0, "bf16", verdict="invalid", reasons=["7 mm"])


def texts(table: Table) -> list[dict[str, str]]:
    return [{name: cell.text for name, cell in zip(table.columns, line.cells, strict=True)} for line in table.lines]


def test_rows_that_are_not_ranked_are_greyed_and_have_no_figures_to_compare() -> None:
    table = decision_table([recommend(measurement(GOOD, UNSTABLE, INVALID, REFERENCE))], "pytorch fp32")
    assert [of["row"] for of in texts(table)] == [
        "pytorch fp32",
        "onnxruntime fp16",
        "onnxruntime bf16",
        "openvino fp32",
    ]
    assert [line.standing for line in table.lines] == ["", "greyed", "greyed", "chosen"]
    _, unstable, invalid, good = texts(table)
    assert (unstable["speed-up"], invalid["p50 (ms)"], good["speed-up"]) == ("–", "–", "4.00")
    assert unstable["p50 (ms)"] == "0.90 to 1.10"
    assert unstable["later than 16.7 ms"] == "–"
    assert table.lines[2].cells[1].note == "7 mm"


def test_every_p50_says_how_many_calls_it_is_of() -> None:
    table = decision_table([recommend(measurement(GOOD, REFERENCE))], "pytorch fp32")
    place = table.columns.index("p50 (ms)")
    assert all("700 calls" in line.cells[place].note for line in table.lines)
    assert "device" not in table.columns


def test_several_devices_are_the_same_table_with_a_column() -> None:
    choices = [recommend(measurement(GOOD, REFERENCE, device=name)) for name in ("orin", "box")]
    table = decision_table(choices, "pytorch fp32")
    assert table.columns[:2] == ("device", "row")
    assert [(of["device"], of["row"]) for of in texts(table)] == [
        (device, name) for device in ("orin", "box") for name in ("pytorch fp32", "openvino fp32")
    ]


def test_side_by_side_has_the_recommended_row_of_each_or_why_there_is_none() -> None:
    rows = (GOOD, REFERENCE)
    choices = [recommend(measurement(*rows, model="S")), recommend(measurement(model="L", missing="it failed"))]
    (table,) = side_by_side(choices).tables
    first, second = texts(table)
    assert (first["model"], first["row"], second["model"], second["row"]) == ("S", "openvino fp32", "L", "not run")
    assert [line.standing for line in table.lines] == ["", "greyed"]
    assert "it failed" in {cell.note for cell in table.lines[1].cells}


def test_a_slow_device_changes_nothing_that_is_said_of_another() -> None:
    fast = recommend(measurement(GOOD, REFERENCE, device="orin"))
    for p50_ms in (5.0, 500.0):
        other = recommend(measurement(row("openvino", p50_ms), REFERENCE, device="box"))
        (table,) = side_by_side([fast, other]).tables
        assert texts(table)[0]["p50 (ms)"] == "5.00"
        assert [line.standing for line in table.lines] == ["", ""]
