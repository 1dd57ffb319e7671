"""The latency measurement of a bundle's verifier: rounds, order, percentiles."""

from collections.abc import Callable

import numpy as np
import pytest
from pose_verify.goldens import nearest_rank
from pose_verify.latency import FLOORS, ROUNDS, Protocol, paired_ratio, summarise, time_rounds

from bench.stats.statistics import percentile_floor

Rounds = dict[str, list[list[float]]]


class Clock:
    """Time that passes only in runs and pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []
        self.errors: list[str] = []

    def run(self, name: str, seconds: float) -> Callable[[], None]:
        def work() -> None:
            self.now += seconds
            self.log.append(name)

        return work

    def time(self, runs: dict[str, Callable[[], None]], seconds: float = 1e9) -> Rounds:
        def pause(duration: float) -> None:
            self.now += duration

        def report(name: str, failure: Exception) -> None:
            self.errors.append(f"{name}: {failure}")

        return time_rounds(runs, Protocol(seconds), report, clock=lambda: self.now, pause=pause)


def test_every_round_has_one_block_of_each() -> None:
    clock = Clock()
    runs = {name: clock.run(name, seconds) for name, seconds in (("a", 0.01), ("b", 0.02), ("c", 0.03))}
    rounds_ms = clock.time(runs)
    for name, expected in (("a", 10), ("b", 20), ("c", 30)):
        np.testing.assert_allclose(rounds_ms[name], np.full((ROUNDS, 4), expected))
    blocks = [clock.log[start] for start in range(0, len(clock.log), 5)]  # one untimed run, and four
    rounds = [blocks[start : start + 3] for start in range(0, len(blocks), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert all(after == before[::-1] for before, after in zip(rounds[::2], rounds[1::2], strict=True))
    assert len({tuple(order) for order in rounds}) > 2
    assert paired_ratio(rounds_ms["a"], rounds_ms["c"]) == pytest.approx(3)


def test_time_limits_the_rounds_to_three_at_least() -> None:
    clock = Clock()
    assert len(clock.time({"a": clock.run("a", 10)}, 1)["a"]) == 3
    assert len(clock.time({"a": clock.run("a", 0.19)}, 10)["a"]) == 10


def test_a_run_that_raises_leaves_the_others_running() -> None:
    clock, left = Clock(), iter(range(6))

    def fail_later() -> None:
        if next(left, None) is None:
            raise RuntimeError("planted")

    rounds_ms = clock.time({"a": clock.run("a", 0.01), "b": fail_later, "c": clock.run("c", 0.01)})
    assert clock.errors == ["b: planted"]
    assert {name: len(rounds) for name, rounds in rounds_ms.items()} == {"a": ROUNDS, "c": ROUNDS}


def test_percentiles_need_their_samples() -> None:
    for name, (quantile, floor) in FLOORS.items():
        assert floor == percentile_floor(quantile), name
    few, many = [[1.0, 2.0, 3.0, 4.0]] * (ROUNDS - 1), [[1.0, 2.0, 3.0, 4.0]] * ROUNDS
    assert (summarise(few)["p90_ms"], summarise(many)["p90_ms"], summarise(many)["p99_ms"]) == (None, 4.0, None)
    assert summarise([[1.0] * 10] * 7)["p90_ms"] is None  # 70 samples of 7 rounds
    assert summarise([[1.0] * 40] * ROUNDS)["p99_ms"] == 1.0
    values = np.random.default_rng(0).normal(size=101)
    for quantile in (0.0, 0.5, 0.9, 0.99, 1.0):
        assert nearest_rank(values, quantile) == np.quantile(values, quantile, method="inverted_cdf")
