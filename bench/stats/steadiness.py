"""The end of a warm-up: pure functions of window medians.

A steady state may never come (Barrett et al. 2017, "Virtual machine warmup blows hot and cold", found that fewer than
half of the pairs of program and machine reach one on every start). So there is a cap, and a result says whether the
model became steady.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, with_config

State = Literal["warming", "steady", "not_steady"]


@dataclass(frozen=True)
class Window:
    """The median latency of one window, and the processor's clock at its end where it can be read."""

    median_ms: float
    clock_mhz: float | None = None


@dataclass(frozen=True)
class WarmUpRule:
    """The definition of steady, and the limits of a warm-up."""

    minimum_s: float = 0.5
    """1 s on a GPU: its clocks take longer to rise."""
    cap_s: float = 30.0
    window_iterations: int = 10
    window_s: float = 0.1
    """A window ends when both are reached."""
    last: int = 3
    spread: float = 0.02
    trend: int = 6
    least: int = 4
    """Fewest windows for a decision: of three, every third order rises or falls by chance."""
    clock_spread: float = 0.03


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class WarmUp:
    """Warm-up; of several launches the longest."""

    state: Literal["steady", "not_steady"]
    seconds: float
    windows_ms: list[float]
    """The median of each."""


def state(windows: Sequence[Window], elapsed_s: float, rule: WarmUpRule) -> State:
    """Return the state of a warm-up after these windows."""
    if elapsed_s >= rule.minimum_s and is_steady(windows, rule):
        return "steady"
    return "not_steady" if elapsed_s >= rule.cap_s else "warming"


def is_steady(windows: Sequence[Window], rule: WarmUpRule) -> bool:
    """Return whether the last medians are near their mean, without a trend, at a constant clock.

    A trend is a rise or fall through the last ``trend`` windows, or through all if there are fewer, as in the shortest
    warm-up of a quick model.
    """
    if len(windows) < rule.least:
        return False
    medians = [window.median_ms for window in windows]
    clocks = [window.clock_mhz for window in windows[-rule.last :] if window.clock_mhz is not None]
    if not _near_mean(medians[-rule.last :], rule.spread) or not _near_mean(clocks, rule.clock_spread):
        return False
    return not _monotone(medians[-rule.trend :])


def _near_mean(values: Sequence[float], spread: float) -> bool:
    mean = sum(values) / max(1, len(values))
    return all(abs(value - mean) <= spread * mean for value in values)


def _monotone(values: Sequence[float]) -> bool:
    steps = [later - earlier for earlier, later in itertools.pairwise(values)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)
