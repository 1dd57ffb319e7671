"""Decision of the regression gate: may this candidate replace that baseline? Pure functions.

A candidate fails if its whole interval is slower than allowed, and passes if its whole interval is not. Anything in
between is inconclusive, and is measured longer. Ratios here are candidate over baseline: above 1 is slower.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bench.stats.quality import USABLE
from bench.stats.statistics import CONFIDENCE, Ratio
from bench.stats.stopping import FIRST_LOOK

Outcome = Literal["PASS", "IMPROVED", "FAIL", "INCONCLUSIVE"]

ALLOWED = {"CPU": 0.03, "GPU": 0.02}
"""Allowed slow-down of a candidate. Processors of shared machines cannot be measured better than to 3 %."""
BIASED = 0.01
"""Largest distance of the control's interval from 1: a gate that decides on 3 % needs a better control than a row."""
LOOKS = tuple(FIRST_LOOK << doublings for doublings in range(4))
"""Rounds after which the gate looks; if the time is up between two, that look replaces the next one."""
SIZE_ALLOWED = 0.02
MEMORY_ALLOWED = 0.05
TAIL_ALLOWED = 0.10
"""Allowed slow-down of p99. A tail with too wide an interval never fails a candidate; a note reports it."""
START_ALLOWED = 0.25
"""Allowed slow-down of building and starting; they are measured once or a few times, so that they only warn."""

SEVERITY: tuple[Outcome, ...] = ("FAIL", "INCONCLUSIVE", "PASS", "IMPROVED")
"""Worst first."""


@dataclass(frozen=True)
class Slowdown:
    """Ratio of candidate to baseline, with its interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Tail:
    """Ratio of the p99s; without one, ``reason`` says why."""

    slowdown: Slowdown | None
    reason: str = ""


@dataclass(frozen=True)
class CellData:
    """Measurements of one cell, a runtime × precision."""

    slowdown: Slowdown | None
    allowed: float
    faults: tuple[str, ...] = ()
    """Faults of the candidate: parity, a crash, a wrong device."""
    doubts: tuple[str, ...] = ()
    """Reasons why time cannot be decided: an unstable run, an invalid baseline."""
    sizes: tuple[int, int] | None = None
    """Bytes of baseline and candidate."""
    memories_mib: tuple[float, float] | None = None
    precision: str = "fp32"
    """Requested precision; a convolution in another one has fallen back."""
    executed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
    """``nodes``, and ``convolutions`` by precision, that baseline and candidate execute."""
    tail: Tail | None = None
    starts_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Durations of building and starting, by name, of baseline and candidate."""


@dataclass(frozen=True)
class Decision:
    """Outcome of one cell, with its reasons."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Remarks that decide nothing."""


@dataclass(frozen=True)
class Cell:
    """Comparison of one runtime × precision."""

    id: str
    outcome: Outcome
    reasons: tuple[str, ...]
    slowdown: Slowdown | None
    allowed: float
    control: Ratio | None
    rounds: int
    boundary: str = "host_e2e"
    notes: tuple[str, ...] = ()
    p99: Slowdown | None = None


@dataclass(frozen=True)
class Comparison:
    """All cells, and their common outcome."""

    mode: str
    outcome: Outcome
    cells: tuple[Cell, ...]
    complete: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"schema_version": "1.1", "kind": "compare", **asdict(self)}


def slowdown_of(speed_up: Ratio) -> Slowdown:
    """Return the inverse of a speed-up."""
    return Slowdown(1 / speed_up.median, 1 / speed_up.high, 1 / speed_up.low)


def allowed_slowdown(device: str, control: Ratio | None) -> float:
    """Return the allowed slow-down, which is never less than the uncertainty of two equal instances."""
    limit = ALLOWED[device]
    return max(limit, control.half_width) if control is not None else limit


def control_doubts(control: Ratio) -> list[str]:
    """Return why two equal instances forbid a decision on this machine: noise must not widen the allowance."""
    distance, doubts = max(control.low - 1, 1 - control.high), []
    if not distance <= BIASED:
        doubts.append(f"two instances of the baseline differ: [{control.low:.3f}, {control.high:.3f}]")
    if not control.half_width <= USABLE:
        doubts.append(f"two instances of the baseline are known to be equal to ±{control.half_width:.1%} only")
    return doubts


def confidence_of_a_cell(cells: int) -> float:
    """Return the confidence of one cell, so that all cells together have that of one (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(1, cells)


def confidence_of_a_look(cells: int) -> float:
    """Return the confidence of one look at one cell: each of up to four looks may be wrong.

    The printed interval has this confidence, so that it covers the truth at whichever look it ends.
    """
    return confidence_of_a_cell(max(1, cells) * len(LOOKS))


def decide_time(slowdown: Slowdown, allowed: float) -> Outcome:
    """Decide on time alone; comparisons are written so that NaN is inconclusive."""
    if slowdown.low > 1 + allowed:
        return "FAIL"
    if slowdown.high < 1 - allowed:
        return "IMPROVED"
    return "PASS" if slowdown.high < 1 + allowed else "INCONCLUSIVE"


def decide_cell(data: CellData) -> Decision:
    """Decide one cell: first what fails at any speed, then time, then the tail."""
    failures, notes = [*data.faults, *_growth(data), *_fallbacks(data)], _slower_starts(data)
    if failures:
        return Decision("FAIL", tuple(failures), notes)
    if data.doubts or data.slowdown is None:
        return Decision("INCONCLUSIVE", data.doubts or ("too few rounds for an interval",), notes)
    outcome = decide_time(data.slowdown, data.allowed)
    limits = {"IMPROVED": f"below {1 - data.allowed:.3f}", "FAIL": f"above {1 + data.allowed:.3f}"}
    limit = limits.get(outcome, f"allowed {1 + data.allowed:.3f}")
    reason = f"{_interval(data.slowdown)} times the baseline's time; {limit}"
    if data.tail is None:
        return Decision(outcome, (reason,), notes)
    if data.tail.slowdown is None:
        return Decision(outcome, (reason,), (*notes, data.tail.reason))
    tail, limit = f"{_interval(data.tail.slowdown)} times the baseline's p99", f"{1 + TAIL_ALLOWED:.3f}"
    if decide_time(data.tail.slowdown, TAIL_ALLOWED) == "FAIL":
        reasons = (reason,) if outcome == "FAIL" else ()
        return Decision("FAIL", (*reasons, f"{tail}; above {limit}"), notes)
    comparison = "allowed" if data.tail.slowdown.high < 1 + TAIL_ALLOWED else "not known to be below"
    return Decision(outcome, (reason,), (*notes, f"{tail}; {comparison} {limit}"))


def worst_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst outcome; without any, inconclusive."""
    return min(outcomes, key=SEVERITY.index, default="INCONCLUSIVE")


def _growth(data: CellData) -> list[str]:
    reasons = []
    for name, pair, allowed in (
        ("the file", data.sizes, SIZE_ALLOWED),
        ("peak memory", data.memories_mib, MEMORY_ALLOWED),
    ):
        if pair is not None and not pair[1] <= (1 + allowed) * pair[0]:
            reasons.append(f"{name} grew by {pair[1] / pair[0] - 1:.1%}, allowed {allowed:.0%}")
    return reasons


def _fallbacks(data: CellData) -> list[str]:
    """Compare exact counts: one more executed node is a difference of the graphs, not noise."""
    if data.executed is None:
        return []
    reasons, (baseline, candidate) = [], data.executed
    if not candidate["nodes"] <= baseline["nodes"]:
        reasons.append(f"{candidate['nodes']} nodes are executed, the baseline's are {baseline['nodes']}")
    before, after = (
        sum(count for precision, count in side["convolutions"].items() if precision != data.precision)
        for side in data.executed
    )
    if not after <= before:
        reasons.append(f"{after} convolutions are not in {data.precision}, the baseline's are {before}")
    return reasons


def _slower_starts(data: CellData) -> tuple[str, ...]:
    return tuple(
        f"{name} took {candidate / baseline - 1:.0%} longer ({baseline:.0f} ms, {candidate:.0f} ms): a warning only"
        for name, (baseline, candidate) in data.starts_ms.items()
        if not candidate <= (1 + START_ALLOWED) * baseline
    )


def _interval(slowdown: Slowdown) -> str:
    return f"{slowdown.median:.3f} [{slowdown.low:.3f}, {slowdown.high:.3f}]"
