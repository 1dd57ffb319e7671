"""Agreement with other tools' timers: the rule, the real tools, and what is said of them. Speed is never asserted."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import agreement, agreement_checks
from bench.agreement import TOLERANCE, compare_timers, judge_agreement
from bench.agreement_checks import BENCHMARK_APP, LOADGEN, OUTCOMES
from bench.backends.openvino import OpenVino
from bench.exported import read_export
from bench.replay import Replayed
from bench.selftest import Finding, as_json, judge_delay, judge_overhead, judge_replay
from bench.statistics import CONFIDENCE, Ratio
from bench.steadiness import WarmUpRule
from bench.timers import P50, P90, QUERIES, BenchmarkApp, LoadGen, OurPercentiles, read_detail
from bench.worker import DEVICE, Job, Samples, Subject
from cli.bench_selftest import require_pass
from export.errors import CheckFailed, Inconclusive
from tests.bench_subjects import FakeClock, Sleeper, write_inputs


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.99, 1.01, "agree"),
        (0.981, 1.02, "agree"),
        (0.99, 1.021, "inconclusive"),
        (0.97, 1.01, "inconclusive"),
        (1.021, 1.05, "disagree"),
        (0.9, 0.98, "disagree"),
        (np.nan, np.nan, "inconclusive"),
    ],
)
def test_the_interval_decides(low: float, high: float, outcome: str) -> None:
    assert judge_agreement(Ratio(1.0, low, high, 20)) == outcome


def test_no_interval_is_no_agreement() -> None:
    assert judge_agreement(None) == "inconclusive"


class FakeTimer:
    """Reads a machine that is never the same, and its own noise, times a factor; time passes as it should."""

    def __init__(self, clock: FakeClock, factors: dict[str, float], noise: float, seed: int) -> None:
        self.clock, self.factors, self.noise = clock, factors, noise
        self.rng = np.random.default_rng(seed)

    def visit(self, iterations: int) -> Samples:
        self.clock.now += 0.1
        true_ms = 10 * (1 + 0.3 * np.sin(self.clock.now / 7))  # slow drift strikes both
        own = self.rng.lognormal(0, self.noise)
        return {name: [true_ms * factor * own] * iterations for name, factor in self.factors.items()}


def outcomes(factors: dict[str, float], noise: float = 0.005, budget_s: float = 1e9) -> list[tuple[str, int]]:
    clock = FakeClock()
    ours, theirs = FakeTimer(clock, dict.fromkeys(factors, 1.0), noise, 0), FakeTimer(clock, factors, noise, 1)
    found = compare_timers(ours, theirs, list(factors), 10.0, budget_s=budget_s, clock=clock)
    return [(of.outcome, of.ratio.rounds if of.ratio else 0) for of in found]


def test_timers_that_agree_pass_and_five_percent_is_seen() -> None:
    assert outcomes({"a": 1.0}) == [("agree", 20)]
    assert outcomes({"a": 1.05}) == [("disagree", 20)]
    assert outcomes({"a": 0.95}) == [("disagree", 20)]


def test_each_figure_is_judged_by_itself() -> None:
    assert outcomes({"p50": 1.0, "p90": 1.05}) == [("agree", 20), ("disagree", 20)]


def test_what_noise_hides_is_measured_longer_and_stays_undecided() -> None:
    assert outcomes({"a": 1.0}, noise=0.2) == [("inconclusive", 160)]
    assert outcomes({"a": 1.0}, noise=0.2, budget_s=5)[0][0] == "inconclusive"


def decided_at_the_border(runs: int = 300) -> int:
    """How many runs are sure of a side, though the timers differ by exactly what is tolerated."""
    found = 0
    for run in range(runs):
        clock = FakeClock()
        ours = FakeTimer(clock, {"a": 1.0}, 0.05, 2 * run)
        theirs = FakeTimer(clock, {"a": 1 + TOLERANCE}, 0.05, 2 * run + 1)
        found += compare_timers(ours, theirs, ["a"], 10.0, budget_s=1e9, clock=clock)[0].outcome != "inconclusive"
    return found


def test_four_looks_are_as_sure_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decided_at_the_border() <= 15  # of 300, 5 %; seen: 11
    monkeypatch.setattr(agreement, "confidence_of_a_look", lambda figures: CONFIDENCE)
    assert decided_at_the_border() >= 25  # seen: 33


def test_ctrl_c_is_no_finding() -> None:
    class Interrupted:
        def visit(self, iterations: int) -> Samples:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_timers(Interrupted(), Interrupted(), ["a"], 10.0)


# The real tools


def test_benchmark_app_times_our_compiled_model_on_all_inputs(typed_files: dict[str, Path]) -> None:
    backend = OpenVino(typed_files["fp32"], "fp32", 1)
    shape = [dim.get_length() if dim.is_static else 1 for dim in backend.compiled.input(0).partial_shape]
    inputs = [np.full(shape, value, np.float32) for value in (0.0, 1.0, 2.0)]
    app = BenchmarkApp(backend, inputs)
    shown: list[float] = []
    real = app._queue.get_next_input

    def watched() -> Any:
        given = real()
        shown.append(float(given[0].data.flat[0]))
        return given

    app._queue.get_next_input = watched
    times = app.visit(7)[DEVICE]
    assert len(times) == 7
    assert times == sorted(times)
    assert times[0] > 0
    assert set(shown) == {0.0, 1.0, 2.0}


def loadgen(runs: Sequence[Any]) -> LoadGen:
    pytest.importorskip("mlperf_loadgen")
    return LoadGen(runs)


def test_loadgen_times_every_query_and_its_call_alone_is_less() -> None:
    sleeper = Sleeper(0.002)
    image = np.zeros((1, 8, 8, 3), np.uint8)
    timer = loadgen([partial(sleeper.run, image)] * 3)
    samples = timer._block(timer._runs)
    assert sleeper.runs == QUERIES
    assert 2 <= samples[P50][0] <= samples[P90][0]
    assert 0 < timer.added_ms() < samples[P50][0]


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), KeyboardInterrupt()])
def test_what_a_run_raises_passes_loadgen_by(error: BaseException) -> None:
    calls = []

    def run() -> None:
        calls.append(1)
        raise error

    timer = loadgen([run])
    with pytest.raises(type(error)):
        timer._block(timer._runs)
    assert len(calls) == 1


def detail(queries: int = QUERIES, errors: int = 0) -> str:
    said = {
        "result_query_count": queries,
        "num_errors": errors,
        "result_50.00_percentile_latency_ns": 2014164,
        "result_90.00_percentile_latency_ns": 2026783,
    }
    lines = [f":::MLLOG {json.dumps({'key': key, 'value': value})}" for key, value in said.items()]
    return "\n".join(["no such line", *lines])


def test_the_log_is_read_and_an_incomplete_one_refused() -> None:
    assert read_detail(detail()) == {P50: [2.014164], P90: [2.026783]}
    for text in (detail(queries=64), detail(errors=1), ""):
        with pytest.raises(CheckFailed, match="LoadGen did not"):
            read_detail(text)


def test_our_percentiles_are_nearest_ranks_of_as_many_runs(tmp_path: Path) -> None:
    subject = Subject(Job(Sleeper, write_inputs(tmp_path)))
    subject.load()
    samples = OurPercentiles(subject).visit(5)
    assert 0 < samples[P50][0] <= samples[P90][0]
    numbers = np.arange(QUERIES)  # LoadGen's: the sample at ⌊n·q⌋
    ranks = np.quantile(numbers, (0.5, 0.9), method="inverted_cdf")
    assert list(ranks) == [int(QUERIES * 0.5), int(QUERIES * 0.9)]


def test_both_checks_on_a_real_export(demo_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of nothing: one round each, so that nothing can be decided, whatever the machine does."""
    monkeypatch.setattr(agreement_checks, "WARM_UP", WarmUpRule(cap_s=0.1))
    findings = list(agreement_checks.agreement_checks(read_export(demo_export), budget_s=1e-9))
    seen = [(of.check, of.outcome) for of in findings]
    assert seen[0] == (f"{BENCHMARK_APP}, median", "inconclusive")
    assert findings[0].figures["boundary"] == DEVICE
    if "mlperf_loadgen" not in sys.modules:
        assert seen[1] == (LOADGEN, "not run")
    else:
        assert seen[1:] == [(f"{LOADGEN}, p50", "inconclusive"), (f"{LOADGEN}, p90", "inconclusive")]
        assert findings[1].figures["added_ms"] > 0


def test_a_tool_that_is_missing_is_not_run_and_says_why(demo_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    monkeypatch.setattr(agreement_checks, "CHECKS", agreement_checks.CHECKS[1:])
    (found,) = agreement_checks.agreement_checks(read_export(demo_export))
    assert (found.check, found.outcome) == (LOADGEN, "not run")
    assert "mlperf_loadgen" in found.read


# What is said of them


def of(outcome: Any) -> Finding:
    return Finding("a check", "5 %", "within 2%", outcome)


def test_exit_codes_of_all_checks_together() -> None:
    require_pass([of("pass"), of("not run")])
    with pytest.raises(Inconclusive, match="a check: 5 %"):
        require_pass([of("pass"), of("inconclusive")])
    with pytest.raises(CheckFailed, match="a check: 5 %"):
        require_pass([of("inconclusive"), of("fail")])
    assert set(OUTCOMES.values()) == {"pass", "fail", "inconclusive"}


def test_each_own_check_can_fail() -> None:
    assert [judge_overhead(ns).outcome for ns in (90.0, 1001.0, np.nan)] == ["pass", "fail", "fail"]
    assert [judge_delay(10, ms).outcome for ms in (10.09, 10.11, 9.89, np.nan)] == ["pass", "fail", "fail", "fail"]
    assert judge_replay("r", Replayed(4, 2, (20, 30), (1.0, 1.0)), "≥ 3 detected", False).outcome == "fail"


def test_the_record_is_plain_and_versioned() -> None:
    record = json.loads(json.dumps(as_json([judge_delay(10, 10.0), of("not run")])))
    assert (record["schema_version"], record["kind"]) == ("1.0", "selftest")
    assert record["findings"][0]["figures"] == {"delay_ms": 10, "read_ms": 10.0}
