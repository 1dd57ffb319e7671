"""When enough rounds were measured: pure functions. The width of intervals decides, never what lies in them.

Whoever stops as soon as a difference is significant finds one in the end. So the rule knows no ratio, only how wide
its interval is, and it looks seldom: after 20, 30, 45, 68, … rounds.
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
    """What is enough."""

    half_width: float = 0.01
    """Of every ratio's interval, in logarithms."""
    budget_s: float = 120.0
    quantile: float = 0.9
    """The highest percentile that is wanted; it needs its floor of samples."""
    first_look: int = FIRST_LOOK
    part: float = 1.0
    """Of all that is to be measured, how much this rule asks for; see ``after_launches``."""


def after_launches(rule: StopRule, done: int, of: int) -> StopRule:
    """What must have been reached in all after ``done`` of the launches: their part of rounds, samples and time.

    The width of an interval falls with the root of the rounds, so that after a third of them it may be √3 as wide.
    """
    part = done / of
    return replace(
        rule,
        half_width=rule.half_width / math.sqrt(part),
        budget_s=rule.budget_s * part,
        first_look=math.ceil(rule.first_look * part),
        part=part,
    )


@dataclass(frozen=True)
class Stop:
    """Why measuring ended."""

    reason: str
    reached: bool
    """Whether the precision that was asked for was reached."""


def is_look(rounds: int, first: int = FIRST_LOOK) -> bool:
    """Whether ``rounds`` is one of first, 1.5·first, 1.5²·first, …, each rounded half up."""
    look = float(first)
    while math.floor(look + 0.5) < rounds:
        look *= GROWTH
    return math.floor(look + 0.5) == rounds


def should_stop(
    rule: StopRule, rounds: int, elapsed_s: float, half_widths: Sequence[float | None], samples: Sequence[int]
) -> Stop | None:
    """None: go on.

    Args:
        rule: what is enough.
        rounds: how many are complete.
        elapsed_s: since the first round began.
        half_widths: of each candidate's ratio, A′ included; None where there is none yet.
        samples: how many each candidate has.
    """
    wide = [width for width in half_widths if width is None or not width <= rule.half_width]
    few = [count for count in samples if count < percentile_floor(rule.quantile) * rule.part]
    if is_look(rounds, rule.first_look) and not wide and not few:
        return Stop(f"every interval within ±{rule.half_width:.1%}", reached=True)
    if elapsed_s >= rule.budget_s:
        return Stop(f"{rule.budget_s:g} s were spent", reached=not wide and not few)
    return None


def iterations_per_block(latency_ms: float) -> int:
    """About 150 ms a visit, but no fewer than 5 iterations and no more than 200."""
    if not latency_ms > 0:
        return MAX_ITERATIONS
    return min(MAX_ITERATIONS, max(MIN_ITERATIONS, math.ceil(BLOCK_MS / latency_ms)))
