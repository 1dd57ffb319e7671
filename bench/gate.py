"""The regression gate: may this candidate replace that baseline? Pure functions.

A candidate fails if it is slower beyond doubt by more than is allowed, and passes if it is beyond doubt not. What lies
between is inconclusive, and is measured longer. Ratios here are candidate over baseline: above 1 is slower.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.statistics import CONFIDENCE, Ratio
from bench.stopping import FIRST_LOOK
from bench.verdicts import BIASED, USABLE

Outcome = Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE", "REFUSED"]

ALLOWED = {"CPU": 0.03, "GPU": 0.02}
"""How much slower a candidate may be. Processors of shared machines are not known better than to 3 %."""
STORED_FACTOR = 2.0
"""Of what is allowed, where the baseline was measured in another run."""
MAX_EXTENSIONS = 3
SIZE_ALLOWED = 0.02
MEMORY_ALLOWED = 0.05

SEVERITY: tuple[Outcome, ...] = ("FAIL", "REFUSED", "INCONCLUSIVE", "PASS", "IMPROVED")
"""Worst first: what a comparison of several cells comes to."""


@dataclass(frozen=True)
class Slowdown:
    """Candidate over baseline, with its interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class CellSeen:
    """What is known of one cell, a backend × precision."""

    slowdown: Slowdown | None
    allowed: float
    faults: tuple[str, ...] = ()
    """Of the candidate: parity, a crash, a wrong device."""
    doubts: tuple[str, ...] = ()
    """Why no judgement of time is possible: an unstable run, a baseline that is itself invalid."""
    sizes: tuple[int, int] | None = None
    """Bytes of baseline and candidate."""
    memories_mib: tuple[float, float] | None = None


@dataclass(frozen=True)
class Judged:
    """One cell's outcome, with its reasons."""

    outcome: Outcome
    reasons: tuple[str, ...] = field(default=())


def slowdown_of(speed_up: Ratio) -> Slowdown:
    """The same ratio seen from the other side."""
    return Slowdown(1 / speed_up.median, 1 / speed_up.high, 1 / speed_up.low)


def slowdown_between_runs(baseline: Ratio, candidate: Ratio) -> Slowdown:
    """From each run's own speed-up over its own reference; the intervals' widths add up in logarithms."""
    median = baseline.median / candidate.median
    return Slowdown(median, baseline.low / candidate.high, baseline.high / candidate.low)


def allowed_slowdown(device: str, control: Ratio | None, *, stored: bool = False) -> float:
    """How much slower is still a pass: never less than what two instances of the same leave open."""
    limit = ALLOWED["CPU" if device.startswith("CPU") else "GPU"] * (STORED_FACTOR if stored else 1.0)
    return max(limit, control.half_width) if control is not None else limit


def control_doubts(control: Ratio) -> list[str]:
    """Why two instances of the same thing say that this machine cannot decide. Noise must not widen what is allowed."""
    away, doubts = max(control.low - 1, 1 - control.high), []
    if not away <= BIASED:
        doubts.append(f"two instances of the baseline differ: [{control.low:.3f}, {control.high:.3f}]")
    if not control.half_width <= USABLE:
        doubts.append(f"two instances of the baseline are known to be equal to ±{control.half_width:.1%} only")
    return doubts


def confidence_of_a_cell(cells: int) -> float:
    """So that all cells together are as sure as one would be (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, cells)


def judge_time(slowdown: Slowdown, allowed: float) -> Outcome:
    """The outcome of time alone; comparisons are written so that NaN is inconclusive."""
    if slowdown.low > 1 + allowed:
        return "FAIL"
    if slowdown.high < 1 - allowed:
        return "IMPROVED"
    return "PASS" if slowdown.high < 1 + allowed else "INCONCLUSIVE"


def judge_cell(seen: CellSeen) -> Judged:
    """The outcome of one cell: what must not be wrong first, then time."""
    hard = [*seen.faults, *_grown(seen)]
    if hard:
        return Judged("FAIL", tuple(hard))
    if seen.doubts or seen.slowdown is None:
        return Judged("INCONCLUSIVE", seen.doubts or ("too few rounds for an interval",))
    outcome, of = judge_time(seen.slowdown, seen.allowed), seen.slowdown
    interval = f"{of.median:.3f} [{of.low:.3f}, {of.high:.3f}] times the baseline's time"
    limits = {"IMPROVED": f"below {1 - seen.allowed:.3f}", "FAIL": f"above {1 + seen.allowed:.3f}"}
    return Judged(outcome, (f"{interval}; {limits.get(outcome, f'allowed {1 + seen.allowed:.3f}')}",))


def judge_all(cells: Sequence[Judged]) -> Outcome:
    """The worst of them; nothing compared is nothing decided."""
    outcomes = [cell.outcome for cell in cells]
    return next((outcome for outcome in SEVERITY if outcome in outcomes), "INCONCLUSIVE")


def is_gate_look(rounds: int, first: int = FIRST_LOOK) -> bool:
    """Whether the gate looks now: after 20 rounds, and after each of three doublings."""
    return rounds in [first << extension for extension in range(MAX_EXTENSIONS + 1)]


def last_look(first: int = FIRST_LOOK) -> int:
    """The rounds after which an inconclusive cell stays so."""
    return first << MAX_EXTENSIONS


def _grown(seen: CellSeen) -> list[str]:
    reasons = []
    for what, pair, allowed in (
        ("the file", seen.sizes, SIZE_ALLOWED),
        ("peak memory", seen.memories_mib, MEMORY_ALLOWED),
    ):
        if pair is not None and not pair[1] <= (1 + allowed) * pair[0]:
            reasons.append(f"{what} grew by {pair[1] / pair[0] - 1:.1%}, allowed {allowed:.0%}")
    return reasons
