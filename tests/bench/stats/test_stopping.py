"""The stop rule: widths and counts, at few looks."""

import math

import pytest

from bench.stats.stopping import StopRule, is_look, iterations_per_block, should_stop


def test_looks_are_few() -> None:
    assert [n for n in range(200) if is_look(n)] == [20, 30, 45, 68, 101, 152]


def test_stopping_knows_widths_and_counts_and_looks_only_at_looks() -> None:
    rule = StopRule()
    narrow, wide = [0.009, 0.01], [0.009, 0.011]
    assert should_stop(rule, 20, 10, narrow, [100, 100])
    assert should_stop(rule, 21, 10, narrow, [100, 100]) is None
    assert should_stop(rule, 20, 10, wide, [100, 100]) is None
    assert should_stop(rule, 20, 10, [None, 0.01], [100, 100]) is None
    assert should_stop(rule, 20, 10, [math.nan, 0.01], [100, 100]) is None
    assert should_stop(rule, 20, 10, narrow, [100, 63]) is None


def test_the_budget_ends_it_at_any_round_and_says_so() -> None:
    stop = should_stop(StopRule(budget_s=60), 21, 60, [0.5], [100])
    assert stop
    assert not stop.reached
    assert "60 s" in stop.reason


@pytest.mark.parametrize(("latency_ms", "k"), [(100, 5), (30, 5), (15, 10), (2, 75), (0.1, 200), (0.0, 200)])
def test_a_block_takes_about_150_ms(latency_ms: float, k: int) -> None:
    assert iterations_per_block(latency_ms) == k
