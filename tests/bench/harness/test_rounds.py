"""Rounds: their order, their end, lost workers and Ctrl-C, with clocks that only a test moves."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.harness.rounds import Plan, Rounds, run_rounds
from bench.stats.stopping import StopRule, after_launches
from tests.support.bench_sessions import FakeClock, Scripted

NOISE = np.random.default_rng(0).lognormal(0, 0.2, 200)


def run(latencies_ms: Mapping[str, Any], *, lost: Mapping[str, int] | None = None, **rule: Any) -> Rounds:
    """Run rounds with scripted latencies; A is the reference."""
    clock = FakeClock()
    runners = {name: Scripted(clock, values, lost_in=(lost or {}).get(name)) for name, values in latencies_ms.items()}
    plan = Plan("A", StopRule(**{"budget_s": 1e9, **rule}), max_rounds=200)
    return run_rounds(runners, {name: float(values[0]) for name, values in latencies_ms.items()}, plan, clock=clock)


def test_every_second_round_is_the_reverse_of_the_one_before() -> None:
    rounds = run({name: [10.0] for name in "ABCD"})
    orders = []
    for index in range(rounds.completed):
        positions = {b.position: name for name, blocks in rounds.blocks.items() for b in blocks if b.round == index}
        orders.append([positions[position] for position in range(4)])
    assert all(sorted(order) == list("ABCD") for order in orders)
    assert all(orders[i + 1] == orders[i][::-1] for i in range(0, len(orders), 2))
    assert len({tuple(order) for order in orders[::2]}) > 3


def test_shared_noise_cancels_so_that_twenty_rounds_are_enough() -> None:
    rounds = run({"A": 10 * NOISE, "B": 5 * NOISE})
    assert rounds.completed == 20
    assert rounds.stop is not None
    assert rounds.stop.reached
    ratio = rounds.ratio("A", "B")
    assert ratio is not None
    assert ratio.median == pytest.approx(2)


def test_a_significant_difference_does_not_end_the_rounds() -> None:
    noise = np.random.default_rng(2).lognormal(0, 0.2, 200)
    rounds = run({"A": [100.0], "B": 10 * noise}, budget_s=60)
    assert rounds.completed > 20
    assert rounds.stop is not None
    assert "spent" in rounds.stop.reason


@pytest.mark.parametrize(("quantile", "rounds"), [(0.9, 20), (0.99, 152)])
def test_a_high_percentile_needs_more_rounds(quantile: float, rounds: int) -> None:
    """A round has 5 samples; p99 needs 662 samples, and so 133 rounds."""
    assert run({"A": [100.0], "B": [50.0]}, quantile=quantile).completed == rounds


def test_the_budget_ends_the_rounds() -> None:
    rounds = run({"A": [100.0], "B": [50.0]}, budget_s=5)
    assert rounds.completed == 7  # 0.75 s each
    assert rounds.ratio("A", "B") is not None


def test_a_lost_worker_is_left_out() -> None:
    rounds = run({"A": [10.0], "B": [5.0], "C": [2.0]}, lost={"B": 7})
    assert rounds.lost == {"B": "round 8: gone"}
    assert (len(rounds.blocks["B"]), len(rounds.blocks["C"])) == (7, 20)


def test_the_rounds_end_with_the_reference() -> None:
    rounds = run({"A": [10.0], "B": [5.0]}, lost={"A": 3})
    assert rounds.completed == 4
    assert rounds.stop is not None
    assert not rounds.stop.reached
    assert len(rounds.paired_ms("A", "B")[0]) == 3


def test_ctrl_c_keeps_the_rounds_so_far() -> None:
    clock = FakeClock()

    class Interrupted(Scripted):
        def __call__(self, iterations: int) -> Any:
            if self.blocks == 9:
                raise KeyboardInterrupt
            return super().__call__(iterations)

    runners = {"A": Scripted(clock, [10.0]), "B": Interrupted(clock, [5.0])}
    rounds = run_rounds(runners, {"A": 10, "B": 5}, Plan("A", StopRule()), clock=clock)
    assert rounds.interrupted
    assert rounds.ratio("A", "B") is not None


def test_sensors_are_read_between_rounds_only() -> None:
    clock = FakeClock()
    readings = iter(range(100))
    runners = {"A": Scripted(clock, [10.0]), "B": Scripted(clock, [5.0])}
    plan = Plan("A", StopRule())
    rounds = run_rounds(runners, {"A": 10, "B": 5}, plan, clock=clock, sensors=lambda: {"reading": next(readings)})
    assert [reading["reading"] for reading in rounds.sensors] == list(range(21))


# ── several launches ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_launches(latencies_ms: Mapping[str, Any], launches: int = 3, **rule: Any) -> list[Rounds]:
    """Return the rounds after each launch; A is the reference."""
    clock, rounds, after = FakeClock(), None, []
    for launch in range(launches):
        runners = {name: Scripted(clock, values) for name, values in latencies_ms.items()}
        plan = Plan("A", StopRule(**{"budget_s": 1e9, **rule}), launch=launch, launches=launches, max_rounds=300)
        clock.now += 1000  # loading does not count
        rounds = run_rounds(runners, dict.fromkeys(latencies_ms, 10.0), plan, clock=clock, earlier=rounds)
        after.append(replace(rounds))
    return after


def rounds_of_launches(rounds: Rounds, name: str = "B") -> list[int]:
    launches = [block.launch for block in rounds.blocks[name]]
    return [launches.count(launch) for launch in range(3)]


def test_a_quiet_machine_needs_a_third_of_the_rounds_in_each_launch() -> None:
    *_, last = run_launches({"A": [10.0], "B": [5.0]})
    assert rounds_of_launches(last) == [7, 7, 16]  # looks: 7, 14, and then 20 (too few in this launch) and 30
    assert [block.round for block in last.blocks["B"]] == list(range(last.completed))
    assert last.stop is not None
    assert last.stop.reached
    assert len(last.sensors) == last.completed + 3


def test_only_all_launches_together_need_the_requested_precision() -> None:
    noise = np.random.default_rng(1).lognormal(0, 0.03, 300)
    after = run_launches({"A": [10.0], "B": 5 * noise})
    widths = [rounds.ratio("A", "B").half_width for rounds in after]  # type: ignore[union-attr]
    assert widths[0] <= 0.01 * np.sqrt(3)
    assert widths[1] <= 0.01 * np.sqrt(3 / 2)
    assert widths[2] <= 0.01
    assert min(rounds_of_launches(after[-1])) >= 7


def test_each_launch_may_spend_its_share_of_the_time_and_what_the_others_left() -> None:
    noise = np.random.default_rng(2).lognormal(0, 0.3, 300)
    after = run_launches({"A": [10.0], "B": 10 * noise}, budget_s=60)
    for launch, rounds in enumerate(after):
        assert 20 * (launch + 1) <= rounds.elapsed_s < 20 * (launch + 1) + 1
    assert after[-1].stop is not None
    assert (after[-1].stop.reached, after[-1].stop.reason) == (False, "60 s were spent")


def test_a_launch_has_its_share_of_the_rule() -> None:
    rule = StopRule(half_width=0.01, budget_s=600)
    third = after_launches(rule, 1, 3)
    assert third.half_width == pytest.approx(0.01 * 3**0.5)
    assert (third.budget_s, third.first_look) == (200, 7)
    assert after_launches(rule, 3, 3) == rule
