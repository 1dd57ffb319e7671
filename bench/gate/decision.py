"""The regression gate: may this candidate replace that baseline? Pure functions.

A candidate fails if it is slower beyond doubt by more than is allowed, and passes if it is beyond doubt not. What lies
between is inconclusive, and is measured longer. Ratios here are candidate over baseline: above 1 is slower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.stats.quality import USABLE
from bench.stats.statistics import CONFIDENCE, Ratio
from bench.stats.stopping import FIRST_LOOK

Outcome = Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE", "REFUSED"]

ALLOWED = {"CPU": 0.03, "GPU": 0.02}
"""How much slower a candidate may be. Processors of shared machines are not known better than to 3 %."""
STORED_FACTOR = 2.0
"""Of what is allowed, where the baseline was measured in another run."""
BIASED = 0.01
"""How far the control's interval may keep away from 1: a gate that decides on 3 % cannot bear what a verdict bears."""
MAX_EXTENSIONS = 3
LOOKS = MAX_EXTENSIONS + 1
"""At most: where the time is up between two, that look stands for the next one."""
SIZE_ALLOWED = 0.02
MEMORY_ALLOWED = 0.05
TAIL_ALLOWED = 0.10
"""Of p99. A tail that is not known well enough never holds back a candidate; it is said."""
START_ALLOWED = 0.25
"""Of building and starting, which are seen once or a few times, so that they warn only."""

SEVERITY: tuple[Outcome, ...] = ("FAIL", "REFUSED", "INCONCLUSIVE", "PASS", "IMPROVED")
"""Worst first: what a comparison of several cells comes to."""


@dataclass(frozen=True)
class Slowdown:
    """Candidate over baseline, with its interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Tail:
    """p99, candidate over baseline; without figures ``reason`` says why."""

    slowdown: Slowdown | None
    reason: str = ""


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
    precision: str = "fp32"
    """Which the row says; a convolution in another one has fallen back."""
    executed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
    """``nodes``, and ``convolutions`` by precision, of the graphs that really run."""
    tail: Tail | None = None
    starts_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Building, loading, cold start: by name."""


@dataclass(frozen=True)
class Judged:
    """One cell's outcome, with its reasons."""

    outcome: Outcome
    reasons: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    """What is worth knowing and decides nothing."""


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


def control_doubts(control: Ratio, of: str = "the baseline") -> list[str]:
    """Why two instances of the same thing say that this machine cannot decide. Noise must not widen what is allowed."""
    away, doubts = max(control.low - 1, 1 - control.high), []
    if not away <= BIASED:
        doubts.append(f"two instances of {of} differ: [{control.low:.3f}, {control.high:.3f}]")
    if not control.half_width <= USABLE:
        doubts.append(f"two instances of {of} are known to be equal to ±{control.half_width:.1%} only")
    return doubts


def confidence_of_a_cell(cells: int) -> float:
    """So that all cells together are as sure as one would be (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, cells)


def confidence_of_a_look(cells: int) -> float:
    """The same for all looks at all cells: who looks four times has four chances to be wrong.

    The interval that is printed has this confidence, so that it covers the truth at whichever look it ends.
    """
    return confidence_of_a_cell(max(1, cells) * LOOKS)


def judge_time(slowdown: Slowdown, allowed: float) -> Outcome:
    """The outcome of time alone; comparisons are written so that NaN is inconclusive."""
    if slowdown.low > 1 + allowed:
        return "FAIL"
    if slowdown.high < 1 - allowed:
        return "IMPROVED"
    return "PASS" if slowdown.high < 1 + allowed else "INCONCLUSIVE"


def judge_cell(seen: CellSeen) -> Judged:
    """The outcome of one cell: what must not be wrong first, then time, then the tail."""
    hard, notes = [*seen.faults, *_grown(seen), *_fallen_back(seen)], _slower_starts(seen)
    if hard:
        return Judged("FAIL", tuple(hard), notes)
    if seen.doubts or seen.slowdown is None:
        return Judged("INCONCLUSIVE", seen.doubts or ("too few rounds for an interval",), notes)
    outcome, of = judge_time(seen.slowdown, seen.allowed), seen.slowdown
    limits = {"IMPROVED": f"below {1 - seen.allowed:.3f}", "FAIL": f"above {1 + seen.allowed:.3f}"}
    reason = f"{_interval(of)} times the baseline's time; {limits.get(outcome, f'allowed {1 + seen.allowed:.3f}')}"
    if seen.tail is None or seen.tail.slowdown is None:
        return Judged(outcome, (reason,), notes + ((seen.tail.reason,) if seen.tail is not None else ()))
    tail, limit = f"{_interval(seen.tail.slowdown)} times the baseline's p99", f"{1 + TAIL_ALLOWED:.3f}"
    if judge_time(seen.tail.slowdown, TAIL_ALLOWED) == "FAIL":
        reasons = (reason,) if outcome == "FAIL" else ()
        return Judged("FAIL", (*reasons, f"{tail}; above {limit}"), notes)
    known = "allowed" if seen.tail.slowdown.high < 1 + TAIL_ALLOWED else "not known to be below"
    return Judged(outcome, (reason,), (*notes, f"{tail}; {known} {limit}"))


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


def _fallen_back(seen: CellSeen) -> list[str]:
    """Counts of what is executed are exact: one more is a difference of the graphs, not noise."""
    if seen.executed is None:
        return []
    reasons, (base, candidate) = [], seen.executed
    if not candidate["nodes"] <= base["nodes"]:
        reasons.append(f"{candidate['nodes']} nodes are executed, the baseline's are {base['nodes']}")
    away = [_away(of["convolutions"], seen.precision) for of in seen.executed]
    if not away[1] <= away[0]:
        reasons.append(f"{away[1]} convolutions are not in {seen.precision}, the baseline's are {away[0]}")
    return reasons


def _away(convolutions: Mapping[str, int], precision: str) -> int:
    return sum(count for used, count in convolutions.items() if used != precision)


def _slower_starts(seen: CellSeen) -> tuple[str, ...]:
    return tuple(
        f"{name} took {candidate / base - 1:.0%} longer ({base:.0f} ms, {candidate:.0f} ms): a warning only"
        for name, (base, candidate) in seen.starts_ms.items()
        if not candidate <= (1 + START_ALLOWED) * base
    )


def _interval(of: Slowdown) -> str:
    return f"{of.median:.3f} [{of.low:.3f}, {of.high:.3f}]"
