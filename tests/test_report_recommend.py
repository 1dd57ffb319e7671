"""What is recommended, on planted rows: the fastest, unless it may not be shipped."""

from dataclasses import replace

import pytest

from bench.report.recommend import SAME_DRIFT_MM, recommend
from bench.report.subject import HEADLINE, Accuracy, Drift, Interval, Row, SpeedUp, Timing, Verdict
from export.parity import EXPLAINED

PASS = Drift("pass", "pass", "fine", 0.01, 0.05, 8)


def row(
    runtime: str,
    p50_ms: float,
    *,
    precision: str = "fp32",
    verdict: Verdict = "stable",
    drift: Drift | None = PASS,
    size: int = 14_000_000,
    half_width: float = 0.005,
    price: float | None = None,
) -> Row:
    """One row, 20 ms being the reference's."""
    up = 20 / p50_ms
    timing = Timing(HEADLINE, 700, 30, p50_ms, 0.9 * p50_ms, 1.1 * p50_ms, (), ())
    cost = Interval(price, None, None) if price is not None else None
    return Row(
        id=f"{runtime}/{precision}/b1/t2",
        runtime=runtime,
        precision=precision,
        computes=None,
        is_reference=runtime == "pytorch",
        verdict=verdict,
        reasons=("why not",),
        drift=drift,
        file=f"onnx/S-{precision}.onnx",
        file_bytes=size,
        timings={HEADLINE: timing} if verdict != "invalid" else {},
        speed_up=SpeedUp(up, up * (1 - half_width), up * (1 + half_width)) if verdict in ("stable", "noisy") else None,
        accuracy=(Accuracy("Human3.6M", 100, "onnxruntime", 50.0, cost),) if cost else (),
    )


SLOW, FAST = row("onnxruntime", 8.0), row("openvino", 5.0)


def chosen(*rows: Row) -> str | None:
    found = recommend(rows, "checkpoint").row
    return found.id if found else None


def test_the_fastest_is_recommended_with_its_figures() -> None:
    found = recommend([SLOW, FAST], "checkpoint")
    assert found.row is FAST
    assert found.reason == (
        "openvino fp32 is the fastest of 2 rows that may be shipped: p50 5.00 ms, 4.00 [3.98, 4.02] times as fast as "
        "the reference; its joints are 0.01 mm from the truth on average."
    )
    assert (found.passed_over, found.caveat) == ((), None)


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        (row("openvino", 1.0, verdict="invalid"), "invalid (why not)"),
        (row("openvino", 1.0, verdict="unstable"), "unstable (why not)"),
        (row("openvino", 1.0, drift=replace(PASS, outcome="fail", reason="7 mm")), "parity is not passed (7 mm)"),
        (row("openvino", 1.0, drift=None), "parity is not passed (not judged)"),
        (row("openvino", 1.0, precision="int8"), "what int8 costs in accuracy is not known"),
        (row("openvino", 1.0, precision="int8", price=7.0), "costs +7.00 mm in accuracy, allowed 5"),
        (row("openvino", 1.0, precision="int8", price=float("nan")), "allowed 5"),
        (row("pytorch-compile", 1.0), "not a file to ship"),
    ],
)
def test_what_may_not_be_shipped_is_passed_over_however_fast_and_is_named(planted: Row, why: str) -> None:
    found = recommend([planted, SLOW], "checkpoint")
    assert found.row is SLOW
    (said,) = found.passed_over
    assert planted.name in said
    assert why in said


def test_a_noisy_row_may_be_shipped() -> None:
    assert chosen(SLOW, replace(FAST, verdict="noisy")) == FAST.id


def test_int8_with_a_known_price_may_be_shipped() -> None:
    assert chosen(SLOW, row("openvino", 2.0, precision="int8", price=0.4)) == "openvino/int8/b1/t2"


def test_of_rows_that_are_not_told_apart_the_nearer_to_the_truth_is_taken() -> None:
    near = row("openvino", 5.02, precision="fp32")
    far = row("openvino", 5.0, precision="bf16", drift=replace(PASS, mean_mm=0.6), size=7_000_000)
    found = recommend([far, near], "checkpoint")
    assert found.row is near
    assert "as fast as openvino bf16 within what was measured, and is the nearest to the truth" in found.reason


def test_a_reference_that_is_no_pytorch_may_be_what_is_shipped() -> None:
    """As on a device that has none: a row that is not told apart from it does not win by a hair."""
    reference = replace(row("onnxruntime", 20.0), is_reference=True, speed_up=None)
    same = row("openvino", 19.9, precision="bf16", drift=replace(PASS, mean_mm=0.6), half_width=0.01)
    assert recommend([reference, same], "checkpoint").row is reference
    faster = replace(same, speed_up=SpeedUp(1.1, 1.09, 1.11))
    assert recommend([reference, faster], "checkpoint").row is faster


def test_where_drift_is_the_same_too_the_smaller_file_is_taken() -> None:
    large = row("openvino", 5.0)
    small = row(
        "openvino", 5.02, precision="fp16", drift=replace(PASS, mean_mm=0.01 + SAME_DRIFT_MM / 2), size=7_000_000
    )
    found = recommend([large, small], "checkpoint")
    assert found.row is small
    assert "has the smallest file" in found.reason


def test_a_difference_beyond_the_intervals_is_no_tie() -> None:
    small = row("openvino", 5.2, precision="fp16", size=7_000_000)
    assert chosen(row("openvino", 5.0), small) == "openvino/fp32/b1/t2"


def test_two_processes_of_one_thing_may_differ_by_as_much_as_the_control_shows() -> None:
    large, small = row("openvino", 5.0), row("openvino", 5.2, precision="fp16", size=7_000_000)
    assert recommend([large, small], "checkpoint", SpeedUp(0.97, 0.96, 0.98)).row is small
    assert recommend([large, small], "checkpoint", SpeedUp(1.0, 0.999, 1.001)).row is large


def test_a_row_that_was_asked_no_limit_is_a_choice_by_latency_alone() -> None:
    unlimited = replace(FAST, drift=replace(PASS, status=EXPLAINED, mean_mm=183.2))
    found = recommend([SLOW, unlimited], "stand-in")
    assert found.row is unlimited
    assert "183 mm from the truth on average, for which no limit was asked" in found.reason


def test_nothing_is_recommended_where_nothing_may_be_shipped() -> None:
    found = recommend([row("pytorch", 20.0), replace(FAST, verdict="unstable")], "checkpoint")
    assert found.row is None
    assert found.reason == "No row may be shipped. openvino fp32: its figures are unstable."
    assert recommend([], "checkpoint").row is None


def test_weights_that_were_never_trained_qualify_it() -> None:
    caveat = recommend([FAST], "stand-in").caveat
    assert caveat is not None
    assert "only the latency is meaningful" in caveat
