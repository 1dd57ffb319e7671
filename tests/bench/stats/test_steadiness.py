"""The end of a warm-up."""

import math

import pytest

from bench.stats.steadiness import WarmUpRule, Window, is_steady, state


def windows(*medians: float) -> list[Window]:
    return [Window(m) for m in medians]


def test_steady_is_three_windows_within_two_percent_of_at_least_four() -> None:
    rule = WarmUpRule()
    assert is_steady(windows(20, 10, 10.1, 9.95), rule)
    assert not is_steady(windows(10, 10.5, 10, 10.1), rule)
    assert not is_steady(windows(10, 10, 10), rule)


def test_six_windows_that_only_fall_are_no_steady_state() -> None:
    rule = WarmUpRule()
    falling = windows(10.5, 10.4, 10.3, 10.2, 10.1, 10.0)
    assert not is_steady(falling, rule)
    assert is_steady([*falling, Window(10.05)], rule)


@pytest.mark.parametrize("count", [4, 5, 6, 7])
def test_fewer_windows_that_only_fall_are_no_steady_state_either(count: int) -> None:
    """At 1.5 % a window the last three lie within 2 % of their mean, and half a second ends after five."""
    falling = windows(*(10 * 0.985**n for n in range(count)))
    assert state(falling, 0.5, WarmUpRule()) == "warming"
    assert state([*falling, falling[-1]], 0.6, WarmUpRule()) == "steady"


def test_a_moving_clock_is_no_steady_state() -> None:
    assert not is_steady([Window(10, c) for c in (3000, 3000, 3000, 2700)], WarmUpRule())
    assert is_steady([Window(10, c) for c in (2000, 3000, 3000, 2950)], WarmUpRule())


def test_warming_up_has_a_minimum_and_a_cap() -> None:
    rule, steady, restless = WarmUpRule(), windows(10, 10, 10, 10), windows(10, 10, 20, 10)
    assert state(steady, 0.3, rule) == "warming"
    assert state(steady, 0.5, rule) == "steady"
    assert state(restless, 29, rule) == "warming"
    assert state(restless, 30, rule) == "not_steady"


def test_nan_is_never_steady() -> None:
    assert not is_steady(windows(*[math.nan] * 4), WarmUpRule())
