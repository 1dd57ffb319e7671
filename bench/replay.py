"""Proof of the rules on what a real machine did: recorded rounds of two equal contenders, replayed many times.

In each trial the two are exchanged at random in every round, so that they are equal by construction, whatever process
or memory layout made one of them faster when they were recorded. Then one is made slower by a known factor, and the
harness's own rounds, stop rule and interval say what they see. Nothing is timed: the same trace and seed give the same
answer on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.rounds import Plan, run_rounds
from bench.statistics import Ratio, Values
from bench.stopping import VISIT_MS, StopRule
from bench.worker import HOST_E2E, Samples

TRACE = Path(__file__).with_name("null_trace.npz")
"""Round medians in ms of two sessions of one ONNX file, one thread each, on two cores with a load of five."""

A, B = "A", "B"


@dataclass(frozen=True)
class Replayed:
    """What was seen in many trials."""

    trials: int
    detected: int
    """Trials whose interval excludes 1."""
    rounds: tuple[int, ...]
    ratios: tuple[float, ...]


class _Recorded:
    """A contender whose latencies were recorded."""

    def __init__(self, medians_ms: Values) -> None:
        self._medians_ms, self._next = medians_ms, 0

    def visit(self, iterations: int) -> Samples:
        """See ``bench.rounds.Contender``; as many samples as are asked for, all the round's median."""
        latency = float(self._medians_ms[self._next])
        self._next += 1
        return {HOST_E2E: [latency] * iterations}


def read_trace(path: Path = TRACE) -> Values:
    """(2, rounds) medians in ms."""
    with np.load(path) as trace:
        return np.stack([trace["a"], trace["b"]]).astype(np.float64)


def replay(trace: Values, slowdown: float, *, trials: int, rule: StopRule, seed: int = 0) -> Replayed:
    """How often a slowdown of B is seen.

    Args:
        trace: (2, rounds) medians in ms.
        slowdown: 0.02 makes B 2 % slower; 0 leaves it as it was.
        trials: how many.
        rule: when the rounds end; its budget does not matter, no time passes.
        seed: of where a trial begins in the trace, and who is exchanged.
    """
    rng = np.random.default_rng(seed)
    seen = [_trial(_relabelled(trace, rng), slowdown, rule, index) for index in range(trials)]
    return Replayed(
        trials=trials,
        detected=sum(not ratio.contains_one for ratio in seen),
        rounds=tuple(ratio.rounds for ratio in seen),
        ratios=tuple(ratio.median for ratio in seen),
    )


def pooled(parts: Sequence[Replayed]) -> Replayed:
    """Those of several seeds, counted together."""
    return Replayed(
        trials=sum(part.trials for part in parts),
        detected=sum(part.detected for part in parts),
        rounds=tuple(rounds for part in parts for rounds in part.rounds),
        ratios=tuple(ratio for part in parts for ratio in part.ratios),
    )


def _relabelled(trace: Values, rng: np.random.Generator) -> Values:
    """From a random round on, around the end, with the two exchanged in half of the rounds."""
    turned: Values = np.roll(trace, -int(rng.integers(trace.shape[1])), axis=1)
    swap = rng.random(trace.shape[1]) < 0.5
    return np.where(swap, turned[::-1], turned)


def _trial(medians_ms: Values, slowdown: float, rule: StopRule, seed: int) -> Ratio:
    contenders = {A: _Recorded(medians_ms[0]), B: _Recorded(medians_ms[1] * (1 + slowdown))}
    latencies = dict.fromkeys(contenders, VISIT_MS)  # as few samples a round as may be
    plan = Plan(A, rule, seed, max_rounds=medians_ms.shape[1])
    ratio = run_rounds(contenders, latencies, plan, clock=lambda: 0.0).ratio(A, B)
    assert ratio is not None
    return ratio


def sequential(trace: Values, length: int, seed: int = 0, trials: int = 100) -> int:
    """How many of ``trials`` equal pairs differ "significantly" if one is measured after the other.

    What this harness does not do: ``length`` rounds of one, then as many of the other, and Welch's t-test.
    """
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(seed)
    different = 0
    for _ in range(trials):
        both = _relabelled(trace, rng)[0]
        different += bool(ttest_ind(both[:length], both[length : 2 * length], equal_var=False).pvalue < 0.05)
    return different
