"""Speed-ups that say nothing are shown nowhere."""

import pytest

from bench.gate.decision import Cell, Comparison, Slowdown
from bench.report.charts.speed_up import speed_up as speed_up_chart
from bench.report.recommend import recommend
from bench.report.rows import is_known, with_trusted_speed_ups
from bench.report.sections.answers import answers, head
from bench.report.sections.decision import decision
from bench.report.sections.export import gate
from tests.bench.report.planted import measurement, row, speed_up


@pytest.mark.parametrize(
    ("low", "high", "known"),
    [(2.0, 2.9, True), (2.0, 3.1, False), (0.0, 0.1, False), (float("nan"), 2.0, False), (1.0, float("nan"), False)],
)
def test_a_ratio_with_a_wide_interval_is_not_known(low: float, high: float, known: bool) -> None:
    assert is_known(low, high) == known


def test_a_wide_speed_up_and_every_speed_up_over_an_unstable_reference_are_removed_with_the_reason() -> None:
    good, wide = row("openvino", 5.0), row("onnxruntime", 5.0, speed_up=speed_up(4.0, half_width=0.3))
    for reference, expected in (
        (row("pytorch", 20.0), [True, False]),
        (row("pytorch", 20.0, verdict="unstable"), [False, False]),
        (row("pytorch", 20.0, verdict="invalid"), [False, False]),
    ):
        found = with_trusted_speed_ups([reference, good, wide])
        assert [of.speed_up is not None for of in found[1:]] == expected
        assert all(of.speed_up or len(of.reasons) == 2 for of in found[1:])


def test_no_view_shows_a_speed_up_over_an_unstable_reference() -> None:
    of = measurement(row("pytorch", 20.0, verdict="unstable"), row("openvino", 5.0))
    choice = recommend(of)
    shown = [
        choice.reason,
        str(decision(choice)),
        str(answers(choice, [])),
        str(head([choice], "")),
    ]
    assert not [text for text in shown if "3.98" in text or "4.02" in text or "4.0×" in text]
    assert speed_up_chart([choice]) is None


def test_the_gate_shows_no_wide_ratio() -> None:
    cell = Cell("a", "INCONCLUSIVE", (), Slowdown(2.5, 0.5, 2.0), 0.03, None, 0)
    assert "2.50" not in str(gate(Comparison("paired", "INCONCLUSIVE", (cell,))))
