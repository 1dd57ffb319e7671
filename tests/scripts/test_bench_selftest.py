"""The self-test of the harness fails on planted defects."""

from typing import Any

import numpy as np
import pytest

from bench.gate.decision import Cell, Outcome, Slowdown
from scripts.bench_selftest import (
    PLANTED,
    Finding,
    Slowed,
    exit_code,
    judge_delay,
    judge_gate,
)
from tests.support.bench_sessions import Recompiling, Sleeper

IMAGE = np.full((1, 8, 8, 3), 7, np.uint8)


def test_a_delay_that_is_misread_fails() -> None:
    read_ms = {10.09: "pass", 10.11: "fail", 9.89: "fail", np.nan: "fail"}
    assert {ms: judge_delay(10, ms).outcome for ms in read_ms} == read_ms


@pytest.mark.parametrize(
    ("share", "gate", "low", "outcome"),
    [
        (0.0, "PASS", 0.99, "pass"),
        (0.0, "IMPROVED", 0.9, "fail"),
        (0.0, "FAIL", 1.04, "fail"),
        (PLANTED, "FAIL", 1.04, "pass"),
        (PLANTED, "FAIL", 0.99, "fail"),  # for another reason than the planted one
        (PLANTED, "PASS", 0.99, "fail"),
        (PLANTED, "INCONCLUSIVE", 1.04, "inconclusive"),
    ],
)
def test_a_gate_that_misses_the_planted_slow_down_fails(share: float, gate: Outcome, low: float, outcome: str) -> None:
    cell = Cell("x", gate, ("a reason",), Slowdown(low + 0.01, low, low + 0.02), 0.03, None, 20)
    assert judge_gate(share, cell).outcome == outcome


def test_a_slowed_backend_computes_the_same_and_accounts_for_what_is_inside() -> None:
    inner = Recompiling()
    inner.runs = 41
    slowed = Slowed(inner, 0.5)
    assert slowed.facts() == {"problems": ["2 compiled graphs, not one"]}
    assert (slowed.run(IMAGE) == Sleeper().run(IMAGE)).all()


def test_exit_codes() -> None:
    def of(*outcomes: Any) -> int:
        return exit_code([Finding("x", "1", "2", outcome) for outcome in outcomes])

    assert [of("pass", "pass"), of("pass", "inconclusive"), of("inconclusive", "fail")] == [0, 3, 1]
