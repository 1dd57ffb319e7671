"""How a bundle's verifier measures latency: turns, rounds, percentiles."""

from collections.abc import Callable

import numpy as np
import pytest
from pose_verify.goldens import nearest_rank
from pose_verify.latency import FLOORS, ROUNDS, Protocol, paired_ratio, summarise, take_turns

from bench.stats.statistics import percentile_floor


class Clock:
    """Time that passes only in runs and pauses."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, []  # type: tuple[float, list[str]]

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, seconds: float) -> Callable[[], None]:
        def work() -> None:
            self.now += seconds
            self.log.append(name)

        return work

    def pause(self, seconds: float) -> None:
        self.now += seconds


def test_all_take_their_turn_in_every_round() -> None:
    clock = Clock()
    contenders = {name: clock.run(name, seconds) for name, seconds in (("a", 0.01), ("b", 0.02), ("c", 0.03))}
    taken = take_turns(contenders, Protocol(1e9), clock, clock.pause)
    for name, expected in (("a", 10), ("b", 20), ("c", 30)):
        np.testing.assert_allclose(taken[name], np.full((ROUNDS, 4), expected))
    visits = [clock.log[at] for at in range(0, len(clock.log), 5)]  # one untimed run, and four
    rounds = [visits[at : at + 3] for at in range(0, len(visits), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert all(after == before[::-1] for before, after in zip(rounds[::2], rounds[1::2], strict=True))
    assert len({tuple(order) for order in rounds}) > 2
    ratio = paired_ratio(taken["a"], taken["c"])
    assert ratio == pytest.approx(3)


def test_time_ends_the_rounds_and_three_are_always_made() -> None:
    clock = Clock()
    assert len(take_turns({"a": clock.run("a", 10)}, Protocol(1), clock, clock.pause)["a"]) == 3
    assert len(take_turns({"a": clock.run("a", 0.19)}, Protocol(10), clock, clock.pause)["a"]) == 10
    assert take_turns({}, Protocol(10), clock, clock.pause) == {}


def test_one_that_breaks_leaves_the_others_running() -> None:
    clock, left, said = Clock(), [7], []  # type: tuple[Clock, list[int], list[str]]

    def breaking() -> None:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError("planted")

    contenders = {"a": clock.run("a", 0.01), "b": breaking, "c": clock.run("c", 0.01)}
    with pytest.raises(RuntimeError, match="planted"):
        take_turns(dict(contenders), Protocol(1e9), clock, clock.pause)
    left[0] = 7
    taken = take_turns(
        contenders, Protocol(1e9), clock, clock.pause, broke=lambda name, failure: said.append(f"{name}: {failure}")
    )
    assert said == ["b: planted"]
    assert {name: len(rounds) for name, rounds in taken.items()} == {"a": ROUNDS, "c": ROUNDS}


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
