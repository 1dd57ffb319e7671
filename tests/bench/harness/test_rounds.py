"""Who is visited when, with clocks that pass as they are told to."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bench.harness.rounds import Measured, Plan, run_rounds
from bench.stats.stopping import StopRule
from tests.support.bench_subjects import FakeClock, Scripted


def run(latencies: Mapping[str, Any], *, lost: Mapping[str, int] | None = None, **rule: Any) -> Measured:
    """Rounds of scripted contenders; A is the reference."""
    clock = FakeClock()
    contenders = {n: Scripted(clock, v, lost_in=(lost or {}).get(n)) for n, v in latencies.items()}
    plan = Plan("A", StopRule(**{"budget_s": 1e9, **rule}), max_rounds=200)
    return run_rounds(contenders, {n: float(v[0]) for n, v in latencies.items()}, plan, clock=clock)


NOISE = np.random.default_rng(0).lognormal(0, 0.2, 200)


def test_every_second_round_is_the_reverse_of_the_one_before_and_orders_change() -> None:
    measured = run({name: [10.0] for name in "ABCD"})
    orders = []
    for index in range(measured.rounds):
        at = {v.position: n for n, visits in measured.visits.items() for v in visits if v.round == index}
        orders.append([at[position] for position in range(4)])
    assert all(sorted(order) == list("ABCD") for order in orders)
    assert all(orders[i + 1] == orders[i][::-1] for i in range(0, len(orders), 2))
    assert len({tuple(order) for order in orders[::2]}) > 3


def test_shared_noise_cancels_so_that_twenty_rounds_are_enough() -> None:
    measured = run({"A": 10 * NOISE, "B": 5 * NOISE})
    assert measured.rounds == 20
    assert measured.stop is not None
    assert measured.stop.reached
    ratio = measured.ratio("A", "B")
    assert ratio is not None
    assert ratio.median == pytest.approx(2)


def test_noise_of_its_own_asks_for_more_rounds() -> None:
    own = np.random.default_rng(1).lognormal(0, 0.03, 200)
    measured = run({"A": [10.0], "B": 5 * own})
    assert measured.rounds in (30, 45, 68, 101, 152)


def test_a_significant_difference_does_not_end_it() -> None:
    wide = np.random.default_rng(2).lognormal(0, 0.2, 200)
    measured = run({"A": [100.0], "B": 10 * wide}, budget_s=60)
    assert measured.rounds > 20
    assert measured.stop is not None
    assert "spent" in measured.stop.reason


def test_too_few_samples_for_the_wanted_percentile_ask_for_more_rounds() -> None:
    assert run({"A": [100.0], "B": [50.0]}, quantile=0.9).rounds == 20  # 5 a visit: 100 samples
    assert run({"A": [100.0], "B": [50.0]}, quantile=0.99).rounds == 152  # 662 need 133 rounds


def test_the_budget_ends_it() -> None:
    measured = run({"A": [100.0], "B": [50.0]}, budget_s=5)
    assert measured.rounds == 7  # 0.75 s each
    assert measured.ratio("A", "B") is not None


def test_one_that_is_lost_is_left_out_and_the_rest_goes_on() -> None:
    measured = run({"A": [10.0], "B": [5.0], "C": [2.0]}, lost={"B": 7})
    assert measured.lost == {"B": "round 8: gone"}
    assert (len(measured.visits["B"]), len(measured.visits["C"])) == (7, 20)


def test_without_the_reference_nothing_goes_on() -> None:
    measured = run({"A": [10.0], "B": [5.0]}, lost={"A": 3})
    assert measured.rounds == 4
    assert measured.stop is not None
    assert not measured.stop.reached
    assert len(measured.paired_ms("A", "B")[0]) == 3


def test_ctrl_c_keeps_what_was_measured() -> None:
    clock = FakeClock()

    class Interrupted(Scripted):
        def visit(self, iterations: int) -> Any:
            if self.visits == 9:
                raise KeyboardInterrupt
            return super().visit(iterations)

    contenders = {"A": Scripted(clock, [10.0]), "B": Interrupted(clock, [5.0])}
    measured = run_rounds(contenders, {"A": 10, "B": 5}, Plan("A", StopRule()), clock=clock)
    assert measured.interrupted
    assert measured.ratio("A", "B") is not None


def test_sensors_are_read_between_rounds_only() -> None:
    clock = FakeClock()
    readings = iter(range(100))
    contenders = {"A": Scripted(clock, [10.0]), "B": Scripted(clock, [5.0])}
    measured = run_rounds(
        contenders, {"A": 10, "B": 5}, Plan("A", StopRule()), clock=clock, sensors=lambda: {"reading": next(readings)}
    )
    assert [reading["reading"] for reading in measured.sensors] == list(range(21))
