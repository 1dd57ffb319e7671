"""Statistics of latencies: golden numbers, exact intervals, and what they do with ugly samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.stats import statistics
from bench.stats.statistics import speed_up

positive = st.floats(1e-3, 1e3)


@pytest.mark.parametrize(("quantile", "floor"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_floors_are_those_of_loadgen(quantile: float, floor: int) -> None:
    assert statistics.percentile_floor(quantile) == floor


@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (20, 6, 15), (30, 10, 21), (50, 18, 33)])
def test_ranks_of_the_medians_interval(n: int, low: int, high: int) -> None:
    interval = statistics.median_interval(np.arange(1.0, n + 1))
    assert interval is not None
    assert (interval.low, interval.high) == (low, high)
    ranks = [r for r in range(1, n + 1) if binom.cdf(r - 1, n, 0.5) <= 0.025]
    assert low == max(ranks)


def test_five_rounds_have_no_interval_and_neither_have_values_that_are_not_finite() -> None:
    assert statistics.median_interval([1, 2, 3, 4, 5]) is None
    assert statistics.median_interval([1, 2, 3, 4, 5, math.nan]) is None
    assert speed_up([1.0] * 6, [1.0] * 5 + [math.inf]) is None


def test_a_known_speed_up_is_found_though_rounds_differ() -> None:
    noise = np.random.default_rng(0).uniform(1, 3, 20)
    ratio = speed_up(20 * noise, 10 * noise)
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((2, 2, 2))


def test_one_spoiled_round_does_not_move_the_ratio() -> None:
    candidate = np.full(10, 10.0)
    candidate[4] = 1000
    ratio = speed_up(np.full(10, 20.0), candidate)
    assert ratio is not None
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((2, 2, 2))


@given(st.lists(st.tuples(positive, positive), min_size=6, max_size=40))
def test_exchanging_the_two_inverts_the_ratio(rounds: list[tuple[float, float]]) -> None:
    base, candidate = np.transpose(rounds)
    there, back = speed_up(base, candidate), speed_up(candidate, base)
    assert there is not None
    assert back is not None
    assert there.low == pytest.approx(1 / back.high)
    assert there.half_width == pytest.approx(back.half_width, abs=1e-9)
    assert there.low <= there.median * (1 + 1e-12)
    assert there.median <= there.high * (1 + 1e-12)


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    trials = [statistics.median_interval(rng.lognormal(0, 1, 20)) for _ in range(400)]
    covered = sum(t is not None and t.low <= 1 <= t.high for t in trials)
    assert covered >= 400 * 0.92


def test_a_percentile_below_its_floor_is_none_and_above_it_is_a_sample() -> None:
    samples = np.random.default_rng(2).permutation(np.arange(1.0, 663))
    below, at = statistics.percentile(samples[:661], 0.99), statistics.percentile(samples, 0.99)
    assert (below.value_ms, below.upper_ms, below.floor) == (None, None, 662)
    assert (at.value_ms, at.upper_ms) == (656, 661)  # nearest rank; the second largest is the upper bound


def test_nan_among_samples_leaves_no_percentile_and_misses_every_deadline() -> None:
    samples = np.full(100, 1.0)
    samples[7] = math.nan
    assert statistics.percentile(samples, 0.5).value_ms is None
    assert statistics.deadline_misses(samples, 10).missed == 1


def test_missed_deadlines_have_an_exact_interval() -> None:
    none = statistics.deadline_misses(np.full(100, 16.0), 16.7)
    assert (none.missed, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 100))  # Clopper and Pearson's closed form for no miss
    some = statistics.deadline_misses([10.0] * 90 + [20.0] * 10, 16.7)
    assert some.low < some.rate == 0.1 < some.high


def test_drift_is_that_of_the_ends() -> None:
    assert statistics.shift(np.log(np.linspace(1, 1.3, 30))) == pytest.approx(0.2, abs=0.01)
    assert statistics.shift([0.0] * 10) == 0
