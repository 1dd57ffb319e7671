"""Decisions of the gate on one cell: faults, sizes, executed nodes, time, tail and starts."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.gate import decision as gate
from bench.gate.decision import CellData, Outcome, Slowdown, decide_cell, worst_outcome
from bench.gate.tails import tail_ratio
from bench.stats.statistics import Ratio
from tests.bench.gate.planted import executed, samples

FINE = Slowdown(1.0, 0.99, 1.01)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.031, 1.05, "FAIL"),
        (1.029, 1.05, "INCONCLUSIVE"),
        (1.01, 1.029, "PASS"),
        (0.95, 0.99, "PASS"),
        (0.9, 0.969, "IMPROVED"),
        (0.9, 1.2, "INCONCLUSIVE"),
        (math.nan, math.nan, "INCONCLUSIVE"),
    ],
)
def test_time_alone(low: float, high: float, outcome: str) -> None:
    assert gate.decide_time(Slowdown(1.0, low, high), 0.03) == outcome


@pytest.mark.parametrize(
    ("data", "outcome", "reason"),
    [
        (CellData(FINE, 0.03), "PASS", "times the baseline's"),
        (CellData(FINE, 0.03, faults=("parity fail",), doubts=("noise",)), "FAIL", "parity fail"),
        (CellData(FINE, 0.03, doubts=("noise",)), "INCONCLUSIVE", "noise"),
        (CellData(None, 0.03), "INCONCLUSIVE", "too few rounds"),
        (CellData(FINE, 0.03, sizes=(1000, 1021)), "FAIL", "the file grew by 2.1%"),
        (CellData(FINE, 0.03, sizes=(1000, 1020)), "PASS", "times"),
        (CellData(FINE, 0.03, memories_mib=(100, 106)), "FAIL", "peak memory grew by 6.0%"),
        (CellData(FINE, 0.03, memories_mib=(100, math.nan)), "FAIL", "peak memory"),
    ],
)
def test_a_cell(data: CellData, outcome: str, reason: str) -> None:
    decision = decide_cell(data)
    assert decision.outcome == outcome
    assert reason in decision.reasons[0]


def test_the_worst_cell_decides() -> None:
    outcomes: list[Outcome] = ["IMPROVED", "PASS", "INCONCLUSIVE", "FAIL"]
    assert [worst_outcome(outcomes[: n + 1]) for n in range(4)] == outcomes
    assert worst_outcome([]) == "INCONCLUSIVE"


def test_noise_widens_the_allowance_a_little_and_then_forbids_a_decision() -> None:
    def control(half_width: float) -> Ratio:
        return Ratio(1.0, math.exp(-half_width), math.exp(half_width), 20)

    assert gate.allowed_slowdown("CPU", control(0.001)) == 0.03
    assert gate.allowed_slowdown("GPU", control(0.025)) == pytest.approx(0.025)
    assert gate.control_doubts(control(0.02)) == []
    assert gate.control_doubts(control(0.04))
    assert gate.control_doubts(Ratio(1.02, 1.011, 1.03, 20))
    assert gate.control_doubts(Ratio(math.nan, math.nan, math.nan, 20))


def test_cells_and_looks_share_the_confidence() -> None:
    assert gate.confidence_of_a_cell(1) == pytest.approx(0.95)
    assert gate.confidence_of_a_cell(5) == pytest.approx(0.99)
    assert gate.confidence_of_a_look(1) == pytest.approx(1 - 0.05 / 4)
    assert gate.confidence_of_a_look(5) == pytest.approx(1 - 0.05 / 20)


def test_the_gate_looks_after_doublings() -> None:
    assert gate.LOOKS == (20, 40, 80, 160)


# ── the tail ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def with_tail(candidate: list[Any], baseline: list[Any] | None = None) -> CellData:
    return CellData(FINE, 0.03, tail=tail_ratio(baseline or samples(30, 40), candidate, 0.95))


def test_a_longer_tail_fails_though_the_median_is_the_same() -> None:
    longer = with_tail(samples(30, 40, late=2.0, seed=1))
    decision = decide_cell(longer)
    assert decision.outcome == "FAIL"
    (reason,) = decision.reasons
    assert "times the baseline's p99; above 1.100" in reason
    assert len(decide_cell(replace(longer, slowdown=Slowdown(1.1, 1.08, 1.12))).reasons) == 2


@pytest.mark.parametrize(
    ("late", "note"), [(1.5, "p99; allowed 1.100"), (1.65, "not known to be below 1.100")], ids=["equal", "unclear"]
)
def test_an_equal_or_unclear_tail_is_a_note(late: float, note: str) -> None:
    decision = decide_cell(with_tail(samples(30, 40, late=late, seed=1)))
    assert (decision.outcome, len(decision.notes)) == ("PASS", 1)
    assert note in decision.notes[0]


@pytest.mark.parametrize(
    ("rounds", "each", "reason"),
    [(20, 33, "p99 not judged: 660 samples, fewer than 662"), (19, 40, "p99 not judged: 19 rounds, fewer than 20")],
)
def test_below_the_floors_a_tail_is_not_judged(rounds: int, each: int, reason: str) -> None:
    decision = decide_cell(with_tail(samples(rounds, each, late=9.0), samples(rounds, each)))
    assert (decision.outcome, decision.notes) == ("PASS", (reason,))


def test_rounds_are_resampled_and_not_samples() -> None:
    """One slow round holds all late samples: as single samples they would be many, as a round they are one."""
    burst = [np.full(40, 10.0) for _ in range(30)]
    burst[7] = np.full(40, 20.0)
    tail = tail_ratio([np.full(40, 10.0)] * 30, burst, 0.95)
    assert tail.slowdown is not None
    assert (tail.slowdown.median, tail.slowdown.low) == (2.0, 1.0)


# ── executed graphs and starts ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("precision", "baseline", "candidate", "reason"),
    [
        ("fp32", executed(116), executed(117), "117 nodes are executed, the baseline's are 116"),
        ("int8", executed(int8=40, fp32=7), executed(int8=39, fp32=8), "8 convolutions are not in int8"),
        ("int8", executed(int8=47), executed(fp32=47), "47 convolutions are not in int8, the baseline's are 0"),
        ("fp32", executed(116), executed(115), None),
        ("fp16", executed(fp32=47), executed(fp32=47), None),  # fell back already
        ("int8", executed(int8=39, fp32=8), executed(int8=40, fp32=7), None),
    ],
)
def test_more_nodes_and_fallbacks_fail_at_once(
    precision: str, baseline: Any, candidate: Any, reason: str | None
) -> None:
    data = CellData(FINE, 0.03, precision=precision, executed=(baseline, candidate), doubts=("noise",))
    decision = decide_cell(data)
    assert decision.outcome == ("FAIL" if reason else "INCONCLUSIVE")
    assert reason is None or reason in decision.reasons[0]


def test_slower_starts_warn_only() -> None:
    starts_ms = {"loading": (100.0, 126.0), "the cold start": (400.0, 490.0)}
    decision = decide_cell(CellData(FINE, 0.03, starts_ms=starts_ms))
    assert decision.outcome == "PASS"
    assert decision.notes == ("loading took 26% longer (100 ms, 126 ms): a warning only",)
