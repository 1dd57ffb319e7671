"""The rules on recorded rounds: a slowdown of 2 % is seen, no change is not."""

import numpy as np
import pytest

from bench.replay import pooled, read_trace, replay, sequential
from bench.selftest import DETECTED, FLAGGED, PATIENT, SEEDS, TRIALS
from bench.statistics import speed_up
from bench.stopping import StopRule


def test_two_percent_is_detected() -> None:
    seen = replay(read_trace(), 0.02, trials=TRIALS, rule=PATIENT)
    assert seen.detected >= DETECTED
    assert np.median(seen.ratios) == pytest.approx(1 / 1.02, abs=0.005)


def test_no_change_is_not_flagged() -> None:
    """Of 2,000 trials: single seeds of 400 lie on both sides of 5 %."""
    seen = pooled([replay(read_trace(), 0.0, trials=TRIALS, rule=PATIENT, seed=seed) for seed in SEEDS])
    assert (seen.trials, len(seen.rounds)) == (2000, 2000)
    assert seen.detected <= FLAGGED == 100


def test_twenty_rounds_would_miss_it_on_a_busy_machine() -> None:
    hasty = StopRule(half_width=10, quantile=0.5, budget_s=float("inf"))
    assert replay(read_trace(), 0.02, trials=TRIALS, rule=hasty).detected < DETECTED


def test_a_rule_that_stops_at_significance_would_flag_more() -> None:
    """Why the rule knows widths only: whoever stops as soon as 1 is excluded finds something in the end."""
    trace, rng, flagged = read_trace(), np.random.default_rng(0), 0
    for _ in range(100):
        swap = rng.random(trace.shape[1]) < 0.5
        a, b = np.where(swap, trace[::-1], trace)
        ratios = [speed_up(a[:n], b[:n]) for n in range(8, 390, 6)]
        flagged += any(ratio is not None and not ratio.contains_one for ratio in ratios)
    assert flagged > 10


def test_one_after_the_other_sees_differences_that_are_not_there() -> None:
    assert sequential(read_trace(), 20) > 10
