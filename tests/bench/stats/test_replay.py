"""The rules on recorded rounds of two equal sessions: a slow-down of 2 % is detected, no change is not.

Each trial exchanges the two at random in every round, so that they are equal by construction. Then one is made slower
by a known factor, and the harness's own rounds, stop rule and interval decide. Nothing is timed.
"""

import numpy as np
import pytest

from bench.harness.rounds import Plan, run_rounds
from bench.harness.workload import HOST_E2E, Samples
from bench.stats.statistics import Ratio, Values, speed_up
from bench.stats.stopping import BLOCK_MS, StopRule
from export.common.files import PROJECT

TRIALS, SEEDS = 100, range(5)
"""A 95 % interval misses the truth in nearly one of twenty trials, so the rate is taken of all seeds together: for a
single one, chance decides on which side of 5 % it falls."""
PATIENT = StopRule(budget_s=float("inf"), quantile=0.5)

with np.load(PROJECT / "tests/data/null_trace.npz") as _trace:
    TRACE: Values = np.stack([_trace["a"], _trace["b"]]).astype(np.float64)
"""(2, rounds) round medians in ms of one ONNX file, one thread each, on two cores with a load of five."""


class Recorded:
    """A workload with recorded round medians."""

    def __init__(self, medians_ms: Values) -> None:
        self.medians_ms = iter(medians_ms)

    def __call__(self, iterations: int) -> Samples:
        return {HOST_E2E: [float(next(self.medians_ms))] * iterations}


def exchanged(rng: np.random.Generator) -> Values:
    """The trace from a random round on, around its end, with the two exchanged in half of the rounds."""
    rolled: Values = np.roll(TRACE, -int(rng.integers(TRACE.shape[1])), axis=1)
    return np.where(rng.random(TRACE.shape[1]) < 0.5, rolled[::-1], rolled)


def trials(slowdown: float, rule: StopRule = PATIENT, seed: int = 0) -> list[Ratio]:
    rng, found = np.random.default_rng(seed), []
    for index in range(TRIALS):
        base, candidate = exchanged(rng)
        runners = {"A": Recorded(base), "B": Recorded(candidate * (1 + slowdown))}
        plan = Plan("A", rule, index, max_rounds=TRACE.shape[1])
        ratio = run_rounds(runners, dict.fromkeys(runners, BLOCK_MS), plan, clock=lambda: 0.0).ratio("A", "B")
        assert ratio is not None
        found.append(ratio)
    return found


def test_two_percent_is_detected() -> None:
    seen = trials(0.02)
    assert sum(not ratio.contains_one for ratio in seen) >= 0.95 * TRIALS
    assert np.median([ratio.median for ratio in seen]) == pytest.approx(1 / 1.02, abs=0.005)


def test_no_change_is_not_flagged() -> None:
    seen = [ratio for seed in SEEDS for ratio in trials(0.0, seed=seed)]
    assert len(seen) == 500
    assert sum(not ratio.contains_one for ratio in seen) <= 0.05 * len(seen)


def test_a_rule_that_stops_at_significance_would_flag_more() -> None:
    """Why the rule knows widths only: whoever stops as soon as 1 is excluded finds something in the end."""
    rng, flagged = np.random.default_rng(0), 0
    for _ in range(100):
        swap = rng.random(TRACE.shape[1]) < 0.5
        a, b = np.where(swap, TRACE[::-1], TRACE)
        ratios = [speed_up(a[:n], b[:n]) for n in range(8, 390, 6)]
        flagged += any(ratio is not None and not ratio.contains_one for ratio in ratios)
    assert flagged > 10
