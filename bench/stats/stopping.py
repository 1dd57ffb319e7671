"""The number of rounds: pure functions. The width of intervals decides, never their position.

A rule that stops as soon as a difference is significant finds one in the end. So this rule knows no ratio, only the
width of its interval, and it looks seldom: after 20, 30, 45, 68, … rounds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.stats.statistics import percentile_floor

FIRST_LOOK = 20
GROWTH = 1.5

MIN_ITERATIONS, MAX_ITERATIONS = 5, 200
BLOCK_MS = 150.0


@dataclass(frozen=True)
class StopRule:
    """The precision to reach, and the time to stop at."""

    half_width: float = 0.01
    """Largest half-width of every ratio's interval, in logarithms."""
    budget_s: float = 120.0
    quantile: float = 0.9
    """The highest percentile to report; it needs its floor of samples."""
    first_look: int = FIRST_LOOK
    part: float = 1.0
    """Share of the whole measurement that this rule asks for; see ``after_launches``."""


def after_launches(rule: StopRule, done: int, launches: int) -> StopRule:
    """Return the rule for ``done`` of the launches together: their share of rounds, samples and time.

    The width of an interval falls with the root of the rounds, so that after a third of them it may be √3 as wide.
    """
    part = done / launches
    return replace(
        rule,
        half_width=rule.half_width / math.sqrt(part),
        budget_s=rule.budget_s * part,
        first_look=math.ceil(rule.first_look * part),
        part=part,
    )


@dataclass(frozen=True)
class Stop:
    """The end of a measurement."""

    reason: str
    reached: bool
    """True if the requested precision was reached."""


def is_look(rounds: int, first: int = FIRST_LOOK) -> bool:
    """Return whether ``rounds`` is one of first, 1.5·first, 1.5²·first, …, each rounded half up."""
    look = float(first)
    while math.floor(look + 0.5) < rounds:
        look *= GROWTH
    return math.floor(look + 0.5) == rounds


def should_stop(
    rule: StopRule, rounds: int, elapsed_s: float, half_widths: Sequence[float | None], samples: Sequence[int]
) -> Stop | None:
    """Return why to stop now; None: go on.

    Args:
        rule: the rule.
        rounds: number of complete rounds.
        elapsed_s: time since the first round began.
        half_widths: half-width of each candidate's ratio, A′ included; None where there is none yet.
        samples: number of samples of each candidate.
    """
    wide = [width for width in half_widths if width is None or not width <= rule.half_width]
    few = [count for count in samples if count < percentile_floor(rule.quantile) * rule.part]
    if is_look(rounds, rule.first_look) and not wide and not few:
        return Stop(f"every interval within ±{rule.half_width:.1%}", reached=True)
    if elapsed_s >= rule.budget_s:
        return Stop(f"{rule.budget_s:g} s were spent", reached=not wide and not few)
    return None


def iterations_per_block(latency_ms: float) -> int:
    """Return the iterations of a block of about 150 ms: at least 5, at most 200."""
    if not latency_ms > 0:
        return MAX_ITERATIONS
    return min(MAX_ITERATIONS, max(MIN_ITERATIONS, math.ceil(BLOCK_MS / latency_ms)))
