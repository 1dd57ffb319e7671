"""What a curve is drawn from: fewer points than there are samples, and none of them invented."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TAIL_POINTS = 192
ROUND_POINTS = 192


def slower_than(samples_ms: ArrayLike, points: int = TAIL_POINTS) -> list[tuple[float, float]]:
    """(ms, share of calls that took longer) at some of the samples: the empirical distribution's complement.

    Half of the points are spread evenly over the samples, half evenly over the logarithm of the share, so that a tail
    keeps the largest ones. Each point lies on the curve of all samples; the slowest call itself, which no call took
    longer than, is the last and has the share of half a call.
    """
    ordered = np.sort(np.asarray(samples_ms, np.float64))
    count = len(ordered)
    if count == 0:
        return []
    even = np.linspace(0, count - 1, points // 2)
    tail = count - np.geomspace(1, count, points - points // 2)
    chosen = np.unique(np.clip(np.round(np.concatenate([even, tail])), 0, count - 1).astype(int))
    shares = (count - 1 - chosen) / count
    shares[-1] = 0.5 / count
    return [(float(ordered[index]), float(share)) for index, share in zip(chosen, shares, strict=True)]


def round_medians(samples_ms: ArrayLike, rounds: NDArray[Any]) -> list[tuple[int, float]]:
    """(round, median of its samples), in order."""
    samples = np.asarray(samples_ms, np.float64)
    return [(int(of), float(np.median(samples[rounds == of]))) for of in np.unique(rounds)]


def every(points: Sequence[tuple[int, float]], most: int = ROUND_POINTS) -> tuple[tuple[int, float], ...]:
    """Every so many-th of the points, the first and as many as fit."""
    step = -(-len(points) // most) if points else 1
    return tuple(points[::step])
