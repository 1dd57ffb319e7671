"""Statistics of latencies: ratios, percentiles, missed deadlines. Pure functions of samples.

No function assumes a distribution. Latencies have tails, two modes and drift; order statistics and exact binomial
intervals hold for all of them, as long as the values are independent. Single samples are not (a slow second makes a
hundred of them slow), so ratios are taken from rounds, and a percentile describes only this run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, with_config
from scipy.stats import binomtest, nbinom, quantile_test

CONFIDENCE = 0.95
TAIL_CONFIDENCE = 0.99
"""Confidence of a percentile's upper bound, as in MLPerf."""

PERCENTILES = (0.5, 0.9, 0.95, 0.99, 0.999)

Values = NDArray[np.float64]

STORED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Rules for these classes in a file."""


class Interval(NamedTuple):
    """A median and its interval."""

    median: float
    low: float
    high: float


@with_config(STORED)
@dataclass(frozen=True)
class Ratio:
    """A speed-up over the base: the median over rounds, and that median's interval."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def half_width(self) -> float:
        """Half of the interval in logarithms: 0.01 is ±1 %."""
        return float(np.log(self.high / self.low) / 2)

    @property
    def reach(self) -> float:
        """Largest distance of the interval from 1."""
        return max(self.high - 1, 1 - self.low)

    @property
    def contains_one(self) -> bool:
        """True if the interval allows no difference."""
        return self.low <= 1 <= self.high


@with_config(STORED)
@dataclass(frozen=True)
class Percentile:
    """Percentile by nearest rank; null below the floor of samples, and in unstable rows."""

    quantile: float
    value_ms: float | None
    upper_ms: float | None
    floor: int


@with_config(STORED)
@dataclass(frozen=True)
class Misses:
    """Number and rate of samples later than a deadline; the rate's interval is exact (Clopper and Pearson 1934)."""

    deadline_ms: float
    missed: int
    rate: float
    low: float
    high: float


def median_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval | None:
    """Return the median and its exact order-statistic interval (Conover 1999, 3.2).

    It assumes independent values and nothing else, and one wild value moves neither median nor interval. At 95 % it
    needs six values. Fewer values, or a value that is not finite, give None.
    """
    array = np.asarray(values, np.float64)
    ranks = _median_ranks(array.size, confidence)
    if ranks is None or not np.isfinite(array).all():
        return None
    low, high = np.sort(array)[ranks]
    return Interval(float(np.median(array)), float(low), float(high))


@cache
def _median_ranks(count: int, confidence: float) -> list[int] | None:
    """Return the two ranks, from 0, of the sorted values that bound the median; None for too few values."""
    if not count:
        return None
    ranks = quantile_test(np.arange(count), q=0, p=0.5).confidence_interval(confidence)
    return None if np.isnan(ranks).any() else [int(rank) for rank in ranks]


def speed_up(base_ms: ArrayLike, candidate_ms: ArrayLike, confidence: float = CONFIDENCE) -> Ratio | None:
    """Return the candidate's speed-up over the base; None for too few rounds.

    Args:
        base_ms: (rounds,) medians of the base.
        candidate_ms: (rounds,) medians of the candidate in the same rounds.
        confidence: confidence of the interval.
    """
    logs = log_ratios(base_ms, candidate_ms)
    interval = median_interval(logs, confidence)
    if interval is None:
        return None
    median, low, high = np.exp(interval).tolist()
    return Ratio(median, low, high, len(logs))


def log_ratios(base_ms: ArrayLike, candidate_ms: ArrayLike) -> Values:
    """Return (rounds,) ln(base / candidate): above zero where the candidate is faster."""
    return np.log(np.asarray(base_ms, np.float64)) - np.log(np.asarray(candidate_ms, np.float64))


@cache
def percentile_floor(quantile: float) -> int:
    """Return the number of samples that a percentile needs, as MLPerf's LoadGen counts with one sample beyond it.

    With that many, the second largest sample is an upper bound of the percentile: all but 1 % of runs have two or more
    samples beyond it. (LoadGen: 64 for p90, 662 for p99.)
    """
    return 2 + int(nbinom.ppf(TAIL_CONFIDENCE, 2, 1 - quantile))


def percentile(samples: ArrayLike, quantile: float) -> Percentile:
    """Return the nearest rank with a one-sided 99 % upper bound; without figures below ``percentile_floor``."""
    array = np.asarray(samples, np.float64)
    floor = percentile_floor(quantile)
    if array.size < floor or not np.isfinite(array).all():
        return Percentile(quantile, None, None, floor)
    upper = quantile_test(array, q=0, p=quantile, alternative="less").confidence_interval(TAIL_CONFIDENCE).high
    value = np.quantile(array, quantile, method="inverted_cdf")
    return Percentile(quantile, float(value), float(upper), floor)


def deadline_misses(samples_ms: ArrayLike, deadline_ms: float) -> Misses:
    """Count the samples later than the deadline; NaN is later."""
    array = np.asarray(samples_ms, np.float64)
    missed = int((~(array <= deadline_ms)).sum())
    low, high = binomtest(missed, array.size).proportion_ci(CONFIDENCE, method="exact")
    return Misses(deadline_ms, missed, missed / array.size, float(low), float(high))


def relative_iqr(values: ArrayLike) -> float:
    """Return the interquartile range over the median."""
    low, median, high = np.quantile(np.asarray(values, np.float64), (0.25, 0.5, 0.75))
    return float((high - low) / median)


def shift(logs: Sequence[float] | Values) -> float:
    """Return the distance between the medians of the first and the last third of (rounds,) logarithms: 0.05 is 5 %."""
    array = np.asarray(logs, np.float64)
    third = max(1, array.size // 3)
    return float(abs(np.expm1(np.median(array[-third:]) - np.median(array[:third]))))
