"""Whether the tail got longer: two p99s, and an interval of their ratio from resampled rounds.

Single samples are not independent (a slow second makes a hundred of them slow), so whole rounds are drawn, each with
what both contenders did in it (bootstrap of paired rounds; Davison and Hinkley 1997, 3.8).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from bench.gate.decision import Slowdown, Tail
from bench.harness.job import HOST_E2E
from bench.harness.rounds import Measured
from bench.stats.statistics import Values, percentile_floor
from bench.stats.stopping import FIRST_LOOK

QUANTILE = 0.99
RESAMPLES = 1999


def tail_between(measured: Measured, base: str, candidate: str, confidence: float) -> Tail:
    """The ratio of p99s, candidate over baseline, if both have the samples and rounds that a p99 needs."""
    ours, theirs = (rounds_of(measured, name) for name in (base, candidate))
    common = sorted(ours.keys() & theirs.keys())
    return tail_ratio([ours[r] for r in common], [theirs[r] for r in common], confidence)


def rounds_of(measured: Measured, name: str) -> dict[int, Values]:
    """Round → its samples in ms."""
    return {v.round: np.asarray(v.samples_ms[HOST_E2E]) for v in measured.visits[name] if HOST_E2E in v.samples_ms}


def tail_ratio(base_ms: list[Values], candidate_ms: list[Values], confidence: float) -> Tail:
    """The same of samples in ms, one array a round."""
    floor, rounds = percentile_floor(QUANTILE), len(base_ms)
    samples = min(sum(map(len, base_ms)), sum(map(len, candidate_ms)))
    if samples < floor:
        return Tail(None, f"p99 not judged: {samples} samples, fewer than {floor}")
    if rounds < FIRST_LOOK:
        return Tail(None, f"p99 not judged: {rounds} rounds, fewer than {FIRST_LOOK}")

    def ratio(drawn: NDArray[np.int_]) -> float:
        return _p99(candidate_ms, drawn) / _p99(base_ms, drawn)

    every = np.arange(rounds)
    interval = bootstrap(
        (every,),
        ratio,
        n_resamples=RESAMPLES,
        vectorized=False,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Tail(Slowdown(ratio(every), float(interval.low), float(interval.high)))


def _p99(rounds_ms: list[Values], drawn: NDArray[np.int_]) -> float:
    pooled = np.concatenate([rounds_ms[int(index)] for index in drawn])
    return float(np.quantile(pooled, QUANTILE, method="inverted_cdf"))
