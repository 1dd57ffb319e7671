"""Statistics of latencies: ratios, percentiles, missed deadlines. Pure functions of samples.

Nothing here assumes a distribution. Latencies have tails, two modes and drift; order statistics and exact binomial
intervals hold for all of them, as long as what is counted is independent. Single samples are not (a slow second makes
a hundred of them slow), so ratios are taken from rounds, and a percentile is a description of this run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, binomtest, norm, quantile_test

CONFIDENCE = 0.95
TAIL_CONFIDENCE = 0.99
"""Of a percentile's upper bound, as MLPerf asks for it."""

PERCENTILES = (0.5, 0.9, 0.95, 0.99, 0.999)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Of a median."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the base: the median over rounds, and that median's interval."""

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
        """How far from 1 the interval reaches."""
        return max(self.high - 1, 1 - self.low)

    @property
    def contains_one(self) -> bool:
        """Whether no difference is within the interval."""
        return self.low <= 1 <= self.high


@dataclass(frozen=True)
class Percentile:
    """A nearest-rank percentile with its upper bound; None where there are fewer samples than ``floor``."""

    quantile: float
    floor: int
    value: float | None
    upper: float | None


@dataclass(frozen=True)
class Misses:
    """How many of ``n`` were later than the deadline; the rate's interval is exact (Clopper and Pearson 1934)."""

    deadline_ms: float
    missed: int
    n: int
    rate: float
    low: float
    high: float


def median_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval | None:
    """The median and its exact order-statistic interval (Conover 1999, 3.2); None for too few values.

    It assumes independent values and nothing else, and one wild value moves neither median nor interval. At 95 % it
    needs six values. None too if a value is not finite.
    """
    array = np.asarray(values, np.float64)
    if array.size < interval_floor(0.5, confidence) or not np.isfinite(array).all():
        return None
    low, high = _median_ranks(array.size, confidence)
    ordered = np.sort(array)
    return Interval(float(np.median(array)), float(ordered[low]), float(ordered[high]))


@cache
def _median_ranks(count: int, confidence: float) -> tuple[int, int]:
    """Which of so many sorted values, from 0, bound the median: they do not depend on the values."""
    low, high = quantile_test(np.arange(count), q=0, p=0.5).confidence_interval(confidence)
    return int(low), int(high)


def speed_up(base_ms: ArrayLike, candidate_ms: ArrayLike, confidence: float = CONFIDENCE) -> Ratio | None:
    """How many times faster the candidate is, from one median a round of each; None for too few rounds.

    Args:
        base_ms: (rounds,) the base's medians.
        candidate_ms: (rounds,) the candidate's, of the same rounds.
        confidence: of the interval.
    """
    logs = log_ratios(base_ms, candidate_ms)
    interval = median_interval(logs, confidence)
    if interval is None:
        return None
    median, low, high = (float(np.exp(value)) for value in (interval.median, interval.low, interval.high))
    return Ratio(median, low, high, len(logs))


def at_confidence(ratio: Ratio, confidence: float) -> Ratio:
    """About what a 95 % interval would be at another confidence, where the rounds are no longer there.

    Ends keep their sides; their distances from the median grow in logarithms as a normal distribution's quantiles do,
    to which order-statistic intervals come near as rounds grow.
    """
    factor = float(norm.isf((1 - confidence) / 2) / norm.isf((1 - CONFIDENCE) / 2))
    low, high = (ratio.median * (end / ratio.median) ** factor for end in (ratio.low, ratio.high))
    return Ratio(ratio.median, low, high, ratio.rounds)


def log_ratios(base_ms: ArrayLike, candidate_ms: ArrayLike) -> Values:
    """(rounds,) ln(base / candidate): above zero where the candidate is faster."""
    return np.log(np.asarray(base_ms, np.float64)) - np.log(np.asarray(candidate_ms, np.float64))


@cache
def percentile_floor(quantile: float, confidence: float = TAIL_CONFIDENCE) -> int:
    """Samples that a percentile needs: as MLPerf's LoadGen counts with one sample beyond it.

    With as many, the second largest sample is an upper bound of the percentile at this confidence: two or more beyond
    it are seen in all but 1 % of runs. (LoadGen: 64 for p90, 662 for p99.)
    """
    return _smallest(lambda n: bool(binom.cdf(1, n, 1 - quantile) <= 1 - confidence))


@cache
def interval_floor(quantile: float, confidence: float = CONFIDENCE) -> int:
    """Samples from which a two-sided order-statistic interval of this quantile exists."""
    tail = (1 - confidence) / 2
    return _smallest(lambda n: max(quantile, 1 - quantile) ** n <= tail)


def percentile(samples: ArrayLike, quantile: float) -> Percentile:
    """Nearest rank, with a one-sided 99 % upper bound; without figures below ``percentile_floor``."""
    array = np.asarray(samples, np.float64)
    floor = percentile_floor(quantile)
    if array.size < floor or not np.isfinite(array).all():
        return Percentile(quantile, floor, None, None)
    upper = quantile_test(array, q=0, p=quantile, alternative="less").confidence_interval(TAIL_CONFIDENCE).high
    value = np.quantile(array, quantile, method="inverted_cdf")
    return Percentile(quantile, floor, float(value), float(upper))


def deadline_misses(samples_ms: ArrayLike, deadline_ms: float) -> Misses:
    """The share of samples later than the deadline."""
    array = np.asarray(samples_ms, np.float64)
    missed = int((~(array <= deadline_ms)).sum())
    low, high = binomtest(missed, array.size).proportion_ci(CONFIDENCE, method="exact")
    return Misses(deadline_ms, missed, array.size, missed / array.size, float(low), float(high))


def tukey_outliers(samples: ArrayLike) -> int:
    """How many samples lie beyond Tukey's outer fences (three interquartile ranges): counted, never removed."""
    array = np.asarray(samples, np.float64)
    low, high = np.quantile(array, (0.25, 0.75))
    return int(((array < low - 3 * (high - low)) | (array > high + 3 * (high - low))).sum())


def relative_iqr(values: ArrayLike) -> float:
    """Interquartile range over median."""
    low, median, high = np.quantile(np.asarray(values, np.float64), (0.25, 0.5, 0.75))
    return float((high - low) / median)


def drift(logs: Sequence[float] | Values) -> float:
    """How far the last third's median lies from the first third's, both (rounds,) logarithms: 0.05 is 5 %."""
    array = np.asarray(logs, np.float64)
    third = max(1, array.size // 3)
    return float(abs(np.expm1(np.median(array[-third:]) - np.median(array[:third]))))


def _smallest(holds: Callable[[int], bool]) -> int:
    """The smallest count from which a condition that stays true becomes true: doubling, then bisection."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
