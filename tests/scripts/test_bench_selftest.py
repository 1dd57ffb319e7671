"""The self-test of the harness fails on planted defects."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gate.decision import Cell, Outcome, Slowdown
from bench.harness.workload import DEVICE, Samples
from bench.sessions.openvino import OpenVino
from bench.stats.statistics import Ratio
from scripts.bench_selftest import (
    PLANTED,
    Finding,
    Slowed,
    compare_timers,
    exit_code,
    judge_agreement,
    judge_delay,
    judge_gate,
)
from scripts.other_timers import P50, P90, QUERIES, BenchmarkApp, LoadGen, read_detail
from tests.support.bench_sessions import FakeClock, Recompiling, Sleeper

IMAGE = np.full((1, 8, 8, 3), 7, np.uint8)


def test_a_delay_that_is_misread_fails() -> None:
    read_ms = {10.09: "pass", 10.11: "fail", 9.89: "fail", np.nan: "fail"}
    assert {ms: judge_delay(10, ms).outcome for ms in read_ms} == read_ms


@pytest.mark.parametrize(
    ("share", "gate", "low", "outcome"),
    [
        (0.0, "PASS", 0.99, "pass"),
        (0.0, "IMPROVED", 0.9, "fail"),
        (0.0, "FAIL", 1.04, "fail"),
        (PLANTED, "FAIL", 1.04, "pass"),
        (PLANTED, "FAIL", 0.99, "fail"),  # for another reason than the planted one
        (PLANTED, "PASS", 0.99, "fail"),
        (PLANTED, "INCONCLUSIVE", 1.04, "inconclusive"),
    ],
)
def test_a_gate_that_misses_the_planted_slow_down_fails(share: float, gate: Outcome, low: float, outcome: str) -> None:
    cell = Cell("x", gate, ("a reason",), Slowdown(low + 0.01, low, low + 0.02), 0.03, None, 20)
    assert judge_gate(share, cell).outcome == outcome


def test_a_slowed_backend_computes_the_same_and_accounts_for_what_is_inside() -> None:
    inner = Recompiling()
    inner.runs = 41
    slowed = Slowed(inner, 0.5)
    assert slowed.facts() == {"problems": ["2 compiled graphs, not one"]}
    assert (slowed.run(IMAGE) == Sleeper().run(IMAGE)).all()


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.981, 1.02, "pass"),
        (0.99, 1.021, "inconclusive"),
        (0.97, 1.01, "inconclusive"),
        (1.021, 1.05, "fail"),
        (0.9, 0.98, "fail"),
        (np.nan, np.nan, "inconclusive"),
    ],
)
def test_the_interval_decides_on_agreement(low: float, high: float, outcome: str) -> None:
    assert judge_agreement("x", Ratio(1.0, low, high, 20)).outcome == outcome
    assert judge_agreement("x", None).outcome == "inconclusive"


class FakeTimer:
    """Reads a machine that is never the same, and its own noise, times a factor."""

    def __init__(self, clock: FakeClock, factor: float, noise: float, seed: int) -> None:
        self.clock, self.factor, self.noise = clock, factor, noise
        self.rng = np.random.default_rng(seed)

    def __call__(self, iterations: int) -> Samples:
        self.clock.now += 0.1
        true_ms = 10 * (1 + 0.3 * np.sin(self.clock.now / 7))
        return {"a": [true_ms * self.factor * self.rng.lognormal(0, self.noise)] * iterations}


@pytest.mark.parametrize(
    ("factor", "noise", "outcome", "rounds"),
    [(1.0, 0.005, "pass", 20), (1.05, 0.005, "fail", 20), (0.95, 0.005, "fail", 20), (1.0, 0.2, "inconclusive", 160)],
)
def test_a_timer_that_reads_five_percent_more_is_seen(factor: float, noise: float, outcome: str, rounds: int) -> None:
    clock = FakeClock()
    timers = FakeTimer(clock, 1.0, noise, 0), FakeTimer(clock, factor, noise, 1)
    (ratio,) = compare_timers(*timers, ["a"], 10.0, clock=clock)
    assert ratio is not None
    assert (judge_agreement("x", ratio).outcome, ratio.rounds) == (outcome, rounds)


def test_exit_codes() -> None:
    def of(*outcomes: Any) -> int:
        return exit_code([Finding("x", "1", "2", outcome) for outcome in outcomes])

    assert [of("pass", "not run"), of("pass", "inconclusive"), of("inconclusive", "fail")] == [0, 3, 1]


def test_benchmark_app_times_our_compiled_model(typed_files: dict[str, Path]) -> None:
    backend = OpenVino(typed_files["fp32"], "fp32", 1)
    shape = [dim.get_length() if dim.is_static else 1 for dim in backend.compiled.input(0).partial_shape]
    times = BenchmarkApp(backend, [np.full(shape, value, np.float32) for value in (0.0, 1.0)]).run_block(7)[DEVICE]
    assert len(times) == 7
    assert times[0] > 0


def loadgen(run: Any) -> LoadGen:
    pytest.importorskip("mlperf_loadgen")
    return LoadGen([run])


def test_loadgen_times_every_query() -> None:
    sleeper = Sleeper(0.002)
    samples = loadgen(partial(sleeper.run, IMAGE)).run_block(5)
    assert sleeper.runs >= QUERIES
    assert 2 <= samples[P50][0] <= samples[P90][0]


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), KeyboardInterrupt()])
def test_what_a_run_raises_in_loadgen_is_raised(error: BaseException) -> None:
    calls: list[int] = []

    def run() -> None:
        calls.append(1)
        time.sleep(0.001)
        if len(calls) > 40:  # later than while settling, which takes 20 ms
            raise error

    with pytest.raises(type(error)):
        loadgen(run).run_block(5)


def test_an_incomplete_log_of_loadgen_is_refused() -> None:
    with pytest.raises(ValueError, match="LoadGen did not"):
        read_detail(':::MLLOG {"key": "result_query_count", "value": 64}')
