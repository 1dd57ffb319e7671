"""The gate on a real run whose answer is known."""

import time
from pathlib import Path

import numpy as np
import pytest

from bench import gate_checks
from bench.backends.slowed import Slowed
from bench.compare import Cell
from bench.exported import read_export
from bench.gate import Outcome, Slowdown
from bench.gate_checks import PLANTED, judge_gate
from bench.steadiness import WarmUpRule
from tests.bench_subjects import Recompiling, Sleeper

IMAGE = np.full((1, 8, 8, 3), 7, np.uint8)


def test_a_slowed_backend_computes_the_same_and_takes_longer() -> None:
    inner = Sleeper(0.02)
    slowed = Slowed(inner, 0.5)
    began = time.perf_counter()
    joints = slowed.run(IMAGE)
    assert time.perf_counter() - began >= 0.03
    assert inner.runs == 1
    assert (joints == Sleeper().run(IMAGE)).all()


def test_a_slowed_backend_accounts_for_what_is_inside() -> None:
    inner = Recompiling()
    inner.runs = 41
    assert Slowed(inner, 0.0).facts() == {"problems": ["2 compiled graphs, not one"]}
    assert Slowed(Sleeper(), 0.0).facts() == {}


@pytest.mark.parametrize(
    ("share", "said", "outcome"),
    [
        (0.0, "PASS", "pass"),
        (0.0, "IMPROVED", "fail"),
        (0.0, "FAIL", "fail"),
        (0.0, "INCONCLUSIVE", "inconclusive"),
        (PLANTED, "FAIL", "pass"),
        (PLANTED, "PASS", "fail"),
        (PLANTED, "IMPROVED", "fail"),
        (PLANTED, "INCONCLUSIVE", "inconclusive"),
    ],
)
def test_what_the_gate_should_have_said(share: float, said: Outcome, outcome: str) -> None:
    cell = Cell("x", said, ("a reason",), Slowdown(1.05, 1.04, 1.06), 0.03, None, 20)
    found = judge_gate(share, cell)
    assert found.outcome == outcome
    assert found.read == f"{said} after 20 rounds: a reason"


def test_a_failure_for_another_reason_is_not_the_planted_one() -> None:
    grown = Cell("x", "FAIL", ("peak memory grew by 37.0%",), Slowdown(1.0, 0.99, 1.01), 0.03, None, 20)
    assert judge_gate(PLANTED, grown).outcome == "fail"


def test_both_checks_on_a_real_export(demo_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the rounds themselves, for which the time is too short: nothing is decided then."""
    monkeypatch.setattr(gate_checks, "WARM_UP", WarmUpRule(cap_s=0.1))
    equal, slow = gate_checks.gate_checks(read_export(demo_export), budget_s=1e-9)
    assert [(of.figures["planted"], of.outcome) for of in (equal, slow)] == [
        (0.0, "inconclusive"),
        (PLANTED, "inconclusive"),
    ]
    assert "fewer than 20" in slow.read
