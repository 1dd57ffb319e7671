"""Ratio of two p99s, with an interval from resampled rounds.

Single samples are not independent (a slow second makes a hundred of them slow), so whole rounds are drawn, each with
the samples of both sides (bootstrap of paired rounds; Davison and Hinkley 1997, 3.8).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from bench.gate.decision import Slowdown, Tail
from bench.harness.rounds import Rounds
from bench.stats.statistics import Values, percentile_floor
from bench.stats.stopping import FIRST_LOOK

QUANTILE = 0.99
RESAMPLES = 1999


def tail_between(rounds: Rounds, baseline: str, candidate: str, confidence: float) -> Tail:
    """Return the ratio of p99s, candidate over baseline, if there are enough samples and rounds."""
    first, second = rounds.samples_by_round(baseline), rounds.samples_by_round(candidate)
    common = sorted(first.keys() & second.keys())
    return tail_ratio([first[index] for index in common], [second[index] for index in common], confidence)


def tail_ratio(baseline_ms: Sequence[Values], candidate_ms: Sequence[Values], confidence: float) -> Tail:
    """Return the ratio of p99s from samples in ms, one array a round."""
    floor, rounds = percentile_floor(QUANTILE), len(baseline_ms)
    samples = min(sum(map(len, baseline_ms)), sum(map(len, candidate_ms)))
    if samples < floor:
        return Tail(None, f"p99 not judged: {samples} samples, fewer than {floor}")
    if rounds < FIRST_LOOK:
        return Tail(None, f"p99 not judged: {rounds} rounds, fewer than {FIRST_LOOK}")

    def ratio(indices: NDArray[np.int_]) -> float:
        return _p99(candidate_ms, indices) / _p99(baseline_ms, indices)

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


def _p99(rounds_ms: Sequence[Values], indices: NDArray[np.int_]) -> float:
    pooled = np.concatenate([rounds_ms[int(index)] for index in indices])
    return float(np.quantile(pooled, QUANTILE, method="inverted_cdf"))
