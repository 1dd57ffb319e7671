"""Statistics of latencies: golden numbers, exact intervals, and what they do with ugly samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.stats import quality, statistics, steadiness, stopping
from bench.stats.statistics import Ratio, Values, speed_up
from bench.stats.steadiness import WarmUpRule, Window
from bench.stats.stopping import StopRule

positive = st.floats(1e-3, 1e3)


@pytest.mark.parametrize(("quantile", "floor"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_floors_are_those_of_loadgen(quantile: float, floor: int) -> None:
    assert statistics.percentile_floor(quantile) == floor


@pytest.mark.parametrize(("quantile", "floor"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_floors_of_two_sided_intervals(quantile: float, floor: int) -> None:
    assert statistics.interval_floor(quantile) == floor


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


def test_confidence_shared_by_five_cells_needs_eight_rounds() -> None:
    assert statistics.interval_floor(0.5, 1 - 0.05 / 5) == 8


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
    assert (below.value, below.upper, below.floor) == (None, None, 662)
    assert (at.value, at.upper) == (656, 661)  # nearest rank; the second largest is the upper bound


def test_nan_among_samples_leaves_no_percentile_and_misses_every_deadline() -> None:
    samples = np.full(100, 1.0)
    samples[7] = math.nan
    assert statistics.percentile(samples, 0.5).value is None
    assert statistics.deadline_misses(samples, 10).missed == 1


def test_missed_deadlines_have_an_exact_interval() -> None:
    none = statistics.deadline_misses(np.full(100, 16.0), 16.7)
    assert (none.missed, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 100))  # Clopper and Pearson's closed form for no miss
    some = statistics.deadline_misses([10.0] * 90 + [20.0] * 10, 16.7)
    assert some.low < some.rate == 0.1 < some.high


def test_outliers_are_counted() -> None:
    assert statistics.tukey_outliers([*np.linspace(1, 2, 50), 9, 0.001]) == 1
    assert statistics.tukey_outliers([3.0] * 20) == 0


def test_drift_is_that_of_the_ends() -> None:
    assert statistics.drift(np.log(np.linspace(1, 1.3, 30))) == pytest.approx(0.2, abs=0.01)
    assert statistics.drift([0.0] * 10) == 0


# Warming up


def windows(*medians: float) -> list[Window]:
    return [Window(m) for m in medians]


def test_steady_is_three_windows_within_two_percent_of_at_least_four() -> None:
    rule = WarmUpRule()
    assert steadiness.is_steady(windows(20, 10, 10.1, 9.95), rule)
    assert not steadiness.is_steady(windows(10, 10.5, 10, 10.1), rule)
    assert not steadiness.is_steady(windows(10, 10, 10), rule)


def test_six_windows_that_only_fall_are_no_steady_state() -> None:
    rule = WarmUpRule()
    falling = windows(10.5, 10.4, 10.3, 10.2, 10.1, 10.0)
    assert not steadiness.is_steady(falling, rule)
    assert steadiness.is_steady([*falling, Window(10.05)], rule)


@pytest.mark.parametrize("count", [4, 5, 6, 7])
def test_fewer_windows_that_only_fall_are_no_steady_state_either(count: int) -> None:
    """At 1.5 % a window the last three lie within 2 % of their mean, and half a second ends after five."""
    falling = windows(*(10 * 0.985**n for n in range(count)))
    assert steadiness.state(falling, 0.5, WarmUpRule()) == "warming"
    assert steadiness.state([*falling, falling[-1]], 0.6, WarmUpRule()) == "steady"


def test_a_moving_clock_is_no_steady_state() -> None:
    assert not steadiness.is_steady([Window(10, c) for c in (3000, 3000, 3000, 2700)], WarmUpRule())
    assert steadiness.is_steady([Window(10, c) for c in (2000, 3000, 3000, 2950)], WarmUpRule())


def test_warming_up_has_a_minimum_and_a_cap() -> None:
    rule, steady, restless = WarmUpRule(), windows(10, 10, 10, 10), windows(10, 10, 20, 10)
    assert steadiness.state(steady, 0.3, rule) == "warming"
    assert steadiness.state(steady, 0.5, rule) == "steady"
    assert steadiness.state(restless, 29, rule) == "warming"
    assert steadiness.state(restless, 30, rule) == "not_steady"


def test_nan_is_never_steady() -> None:
    assert not steadiness.is_steady(windows(*[math.nan] * 4), WarmUpRule())


# Stopping


def test_looks_are_few() -> None:
    assert [n for n in range(200) if stopping.is_look(n)] == [20, 30, 45, 68, 101, 152]


def test_stopping_knows_widths_and_counts_and_looks_only_at_looks() -> None:
    rule = StopRule()
    narrow, wide = [0.009, 0.01], [0.009, 0.011]
    assert stopping.should_stop(rule, 20, 10, narrow, [100, 100])
    assert stopping.should_stop(rule, 21, 10, narrow, [100, 100]) is None
    assert stopping.should_stop(rule, 20, 10, wide, [100, 100]) is None
    assert stopping.should_stop(rule, 20, 10, [None, 0.01], [100, 100]) is None
    assert stopping.should_stop(rule, 20, 10, [math.nan, 0.01], [100, 100]) is None
    assert stopping.should_stop(rule, 20, 10, narrow, [100, 63]) is None


def test_the_budget_ends_it_at_any_round_and_says_so() -> None:
    stop = stopping.should_stop(StopRule(budget_s=60), 21, 60, [0.5], [100])
    assert stop
    assert not stop.reached
    assert "60 s" in stop.reason


@pytest.mark.parametrize(("latency_ms", "k"), [(100, 5), (30, 5), (15, 10), (2, 75), (0.1, 200), (0.0, 200)])
def test_a_visit_takes_about_150_ms(latency_ms: float, k: int) -> None:
    assert stopping.iterations_per_block(latency_ms) == k


# Verdicts

QUIET = Ratio(1.0, 0.998, 1.002, 30)


def ratio(half_width: float, median: float = 2.0) -> Ratio:
    return Ratio(median, median * math.exp(-half_width), median * math.exp(half_width), 30)


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({}, "stable", "within"),
        ({"ratio": ratio(0.02)}, "noisy", "±2.0 %"),
        ({"spread": 0.06}, "noisy", "spread"),
        ({"power_capped": 0.2}, "noisy", "power"),
        ({"control": Ratio(1.006, 1.004, 1.008, 30)}, "noisy", "differ"),
        ({"control": Ratio(1.04, 1.03, 1.05, 30)}, "noisy", "no difference below 10 % is told"),
        ({"control": Ratio(1.06, 1.051, 1.07, 30)}, "unstable", "two instances"),
        ({"control": Ratio(0.94, 0.93, 0.949, 30)}, "unstable", "two instances"),
        ({"control": Ratio(math.nan, math.nan, math.nan, 30)}, "unstable", "two instances"),
        ({"control": Ratio(1.0, 0.985, 1.015, 30)}, "noisy", "are equal is known to ±1.5 %"),
        ({"control": Ratio(1.0, 0.96, 1.04, 30)}, "unstable", "are equal is known to"),
        ({"control_faults": ("killed",)}, "unstable", "second instance, killed"),
        ({"control_drift": 0.06}, "unstable", "against each other"),
        ({"control_drift": math.nan}, "unstable", "against each other"),
        ({"ratio": ratio(0.031)}, "unstable", "±3.10 %"),
        ({"ratio": ratio(math.nan)}, "unstable", "only"),
        ({"ratio": None}, "unstable", "too few rounds"),
        ({"drift": 0.06}, "unstable", "drifted"),
        ({"steal": 0.02}, "unstable", "stolen"),
        ({"throttled": 0.11}, "unstable", "throttled"),
        ({"steady": False}, "unstable", "warming up"),
        ({"faults": ("parity failed",), "steady": False}, "invalid", "parity failed"),
    ],
)
def test_verdicts_and_their_reasons(changes: dict[str, object], name: str, reason: str) -> None:
    seen = quality.Evidence(**{"ratio": ratio(0.005), "control": QUIET, **changes})  # type: ignore[arg-type]
    verdict = quality.assess(seen)
    assert verdict.name == name
    assert reason.replace(" %", "%") in " ".join(verdict.reasons)
    assert verdict.timing == (name != "invalid")
    assert verdict.speed_up == (name in ("stable", "noisy"))


def test_small_differences_are_called_the_same() -> None:
    control = ratio(0.01, 1.0)
    assert quality.same_as_reference(ratio(0.005, 1.015), control)
    assert not quality.same_as_reference(ratio(0.005, 1.025), control)


def test_equal_contenders_are_not_called_different() -> None:
    rng = np.random.default_rng(0)
    rounds: tuple[Values, Values] = (rng.lognormal(0, 0.1, 20), rng.lognormal(0, 0.1, 20))
    found = speed_up(*rounds)
    assert found is not None
    assert found.contains_one
