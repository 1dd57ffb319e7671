"""Do two timers of one thing agree? Their blocks alternate, so that noise strikes both, and the rounds' ratio decides.

Two figures agree if the interval of their ratio lies within the tolerance, and disagree if it lies outside. What is
between is measured longer, and is inconclusive in the end: "no difference was seen" is no agreement.
The interval's confidence bears all looks at all figures, as the gate's does.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bench.gate import confidence_of_a_look, is_gate_look, last_look
from bench.rounds import Contender, Measured, Plan, run_rounds
from bench.statistics import Ratio, speed_up
from bench.stopping import Stop, StopRule
from export.progress import Progress, silent

TOLERANCE = 0.02
BUDGET_S = 150.0
OURS, THEIRS = "ours", "theirs"

Agrees = Literal["agree", "disagree", "inconclusive"]


@dataclass(frozen=True)
class Agreement:
    """One figure as two timers have it."""

    figure: str
    outcome: Agrees
    ratio: Ratio | None
    """Theirs over ours."""
    ours_ms: float
    theirs_ms: float

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "tolerance": TOLERANCE}


def judge_agreement(ratio: Ratio | None, tolerance: float = TOLERANCE) -> Agrees:
    """From the interval alone; comparisons are written so that NaN is inconclusive."""
    if ratio is None:
        return "inconclusive"
    low, high = 1 / (1 + tolerance), 1 + tolerance
    if ratio.low >= low and ratio.high <= high:
        return "agree"
    return "disagree" if ratio.low > high or ratio.high < low else "inconclusive"


def compare_timers(
    ours: Contender,
    theirs: Contender,
    figures: Sequence[str],
    latency_ms: float,
    *,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.monotonic,
    progress: Progress = silent,
) -> list[Agreement]:
    """Let both time the same thing in alternating blocks until every figure is decided.

    Args:
        ours: this harness.
        theirs: the other tool.
        figures: keys of what both return from a visit, compared one by one.
        latency_ms: about how long one run takes; it says how many make a block.
        budget_s: after which it ends undecided.
        clock: seconds.
        progress: is told the round.
    """
    plan = Plan(OURS, StopRule(budget_s=budget_s), decide=_decide(figures, budget_s))
    contenders: Mapping[str, Contender] = {OURS: ours, THEIRS: theirs}
    measured = run_rounds(contenders, dict.fromkeys(contenders, latency_ms), plan, clock=clock, progress=progress)
    if measured.interrupted:
        raise KeyboardInterrupt
    return _agreements(measured, figures)


def _decide(figures: Sequence[str], budget_s: float) -> Callable[[Measured, Sequence[str], float], Stop | None]:
    def decide(measured: Measured, alive: Sequence[str], elapsed_s: float) -> Stop | None:
        if is_gate_look(measured.rounds):
            decided = all(found.outcome != "inconclusive" for found in _agreements(measured, figures))
            if decided or measured.rounds >= last_look():
                return Stop("decided" if decided else f"{measured.rounds} rounds did not decide it", reached=decided)
        return Stop(f"{budget_s:g} s were spent", reached=False) if elapsed_s >= budget_s else None

    return decide


def _agreements(measured: Measured, figures: Sequence[str]) -> list[Agreement]:
    return [_agreement(measured, figure, confidence_of_a_look(len(figures))) for figure in figures]


def _agreement(measured: Measured, figure: str, confidence: float) -> Agreement:
    theirs, ours = measured.paired_ms(THEIRS, OURS, figure)
    ratio = speed_up(theirs, ours, confidence)
    typical = [float(np.median(values)) for values in (ours, theirs)]
    return Agreement(figure, judge_agreement(ratio), ratio, *typical)
