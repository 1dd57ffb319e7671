"""The recommended row is the fastest, unless it may not be shipped."""

from typing import Any

import pytest

from bench.report.recommend import SAME_ERROR_MM, Choice, recommend
from bench.results.result import Row
from export.parity.budgets import WITHIN_ROUNDING
from tests.bench.report.planted import control, evaluation, measurement, row, speed_up

SLOW, FAST = row("onnxruntime", 8.0), row("openvino", 5.0)


def chosen(*rows: Row, **changes: Any) -> Choice:
    return recommend(measurement(*rows, **changes))


def test_the_fastest_is_recommended_with_its_figures() -> None:
    found = chosen(SLOW, FAST)
    assert found.row is not None
    assert found.row.id == "openvino/fp32"
    for figure in ("5.00 ms", "4.00 [3.98, 4.02]", "14.0 MB"):
        assert figure in found.reason
    assert (found.passed_over, found.caveat) == ((), None)


@pytest.mark.parametrize(
    ("planted", "losses", "why"),
    [
        (row("openvino", 1.0, verdict="invalid"), {}, "invalid"),
        (row("openvino", 1.0, verdict="unstable"), {}, "unstable"),
        (row("openvino", 1.0, parity={"outcome": "fail", "reason": "7 mm"}), {}, "7 mm"),
        (row("openvino", 1.0, parity=None), {}, "not judged"),
        (row("openvino", 1.0, "int8"), {}, "within the INT8 budget (mean ≤ 5 mm); accuracy not evaluated"),
        (row("openvino", 1.0, "int8"), {"int8": 7.0}, "+7.00 mm, allowed 5"),
        (row("openvino", 1.0, "fp16"), {"fp16": 7.0}, "+7.00 mm, allowed 1"),
        (row("pytorch-compile", 1.0), {}, "not a file to ship"),
    ],
)
def test_what_may_not_be_shipped_is_passed_over_however_fast_and_is_named(
    planted: Row, losses: dict[str, float], why: str
) -> None:
    found = chosen(planted, SLOW, evaluations=(evaluation(**losses),))
    assert found.row is not None
    assert found.row.id == SLOW.id
    (passed_over,) = found.passed_over
    assert f"{planted.runtime} {planted.precision}" in passed_over
    assert why in passed_over


def test_a_noisy_row_may_be_shipped() -> None:
    found = chosen(SLOW, row("openvino", 5.0, verdict="noisy"))
    assert found.row is not None
    assert found.row.runtime == "openvino"


def test_int8_with_a_known_loss_may_be_shipped() -> None:
    found = chosen(SLOW, row("openvino", 2.0, "int8"), evaluations=(evaluation(int8=0.4),))
    assert found.row is not None
    assert found.row.precision == "int8"


@pytest.mark.parametrize(
    ("half_ms", "expected", "said"),
    [
        (2.03, "bf16", "3 rows that may be shipped, int8 left aside"),
        (2.03, "bf16", "1.5% faster than openvino bf16, too little"),
        (2.1, "int8", "5.0% faster"),
        (1.995, "bf16", "3 rows that may be shipped: 2.00 ms"),
    ],
)
def test_int8_must_gain_enough_over_a_half_precision(half_ms: float, expected: str, said: str) -> None:
    int8, half = row("openvino", 2.0, "int8", artifact_bytes=7), row("openvino", half_ms, "bf16")
    found = chosen(SLOW, int8, half, evaluations=(evaluation(int8=0.4),))
    assert found.row is not None
    assert found.row.precision == expected
    assert said in found.reason


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # equally fast: the smaller export error
        ((row("openvino", 5.0, "bf16", error_mm=0.6, artifact_bytes=7), row("openvino", 5.02)), "fp32"),
        # equally fast and equally wrong: the smaller file
        ((row("openvino", 5.0), row("openvino", 5.02, "fp16", error_mm=SAME_ERROR_MM / 2, artifact_bytes=7)), "fp16"),
        # told apart: the faster
        ((row("openvino", 5.0), row("openvino", 5.2, "fp16", artifact_bytes=7)), "fp32"),
    ],
)
def test_rows_that_are_not_told_apart_are_chosen_by_error_and_then_by_size(
    rows: tuple[Row, ...], expected: str
) -> None:
    found = chosen(*rows)
    assert found.row is not None
    assert found.row.precision == expected


def test_two_processes_of_one_artifact_may_differ_by_as_much_as_the_control_shows() -> None:
    rows = row("openvino", 5.0), row("openvino", 5.2, "fp16", artifact_bytes=7)
    for tolerance, expected in ((control(0.96, 0.98), "fp16"), (control(0.999, 1.001), "fp32")):
        found = chosen(*rows, control=tolerance)
        assert found.row is not None
        assert found.row.precision == expected


def test_a_reference_that_is_not_pytorch_may_be_what_is_shipped() -> None:
    """On a device that has no PyTorch, a row that is not told apart from the reference does not win by a hair."""
    reference = row("onnxruntime", 20.0, is_reference=True, speed_up=None)
    same = row("openvino", 19.9, "bf16", error_mm=0.6, half_width=0.01)
    faster = same.model_copy(update={"speed_up": speed_up(1.1)})
    for other, expected in ((same, "onnxruntime"), (faster, "openvino")):
        found = chosen(reference, other)
        assert found.row is not None
        assert found.row.runtime == expected


def test_without_an_accuracy_budget_the_reason_says_so() -> None:
    parity = {
        "outcome": "pass",
        "status": WITHIN_ROUNDING,
        "reason": "",
        "mean_mm": 183.2,
        "max_mm": 300.0,
        "images": 8,
    }
    found = chosen(SLOW, row("openvino", 5.0, parity=parity), weights="stand-in")
    assert "No accuracy budget" in found.reason
    assert found.caveat is not None


def test_nothing_is_recommended_where_nothing_may_be_shipped() -> None:
    found = chosen(row("pytorch", 20.0), row("openvino", 5.0, verdict="unstable"))
    assert found.row is None
    assert "Every row: unstable (why not)." in found.reason
    causes = (row("openvino", 5.0, verdict="unstable", reasons=[f"known to ±{n} % only"]) for n in (4, 9))
    assert chosen(row("pytorch", 20.0), *causes).reason.endswith("Every row: unstable.")
    two = chosen(
        row("pytorch", 20.0), row("openvino", 5.0, verdict="unstable"), row("onnxruntime", 5.0, verdict="invalid")
    )
    assert "openvino fp32: unstable" in two.reason
    assert chosen().row is None
    assert chosen(missing="it failed").row is None
