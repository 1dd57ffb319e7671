"""Who is timed when: rounds in which every contender takes its turn, until enough is known.

The machine is never the same for two seconds. So all contenders are visited in each round, in random order, every
second round in the reverse of the one before, and only what was measured in the same round is compared. Clocks,
sensors and contenders come from outside, so that every rule here can be tested without waiting.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any, Protocol

import numpy as np

from bench.harness.job import HOST_E2E, Samples
from bench.harness.remote import WorkerLost
from bench.stats.statistics import Ratio, Values, speed_up
from bench.stats.stopping import Stop, StopRule, after_launches, is_look, iterations_per_block, should_stop
from export.common.progress import Progress, no_progress


class Contender(Protocol):
    """What is visited."""

    def visit(self, iterations: int) -> Samples:
        """Latencies in ms at each boundary.

        Raises:
            WorkerLost: there will be no more from this one.
        """


@dataclass(frozen=True)
class Visit:
    """What one contender did in one round; ``position`` is its place in the round's order."""

    round: int
    position: int
    samples_ms: Samples
    launch: int = 0
    """Rounds are counted on over launches."""


@dataclass
class Measured:
    """Everything that was seen."""

    visits: dict[str, list[Visit]]
    rounds: int = 0
    """Complete ones."""
    elapsed_s: float = 0.0
    """What they took."""
    lost: dict[str, str] = field(default_factory=dict)
    sensors: list[Mapping[str, Any]] = field(default_factory=list)
    """One reading before each launch's first round, and one after each round."""
    stop: Stop | None = None
    interrupted: bool = False

    def round_medians_ms(self, name: str, boundary: str = HOST_E2E) -> dict[int, float]:
        """Round → median of the round's samples."""
        return {v.round: median(v.samples_ms[boundary]) for v in self.visits[name] if boundary in v.samples_ms}

    def of_launch(self, launch: int) -> "Measured":
        """What was seen in this launch alone."""
        return Measured({name: [v for v in visits if v.launch == launch] for name, visits in self.visits.items()})

    def samples_ms(self, name: str, boundary: str = HOST_E2E) -> Values:
        """All samples in the order in which they were taken."""
        taken = [v.samples_ms[boundary] for v in self.visits[name] if boundary in v.samples_ms]
        return np.concatenate(taken) if taken else np.empty(0)

    def paired_ms(self, base: str, name: str, boundary: str = HOST_E2E) -> tuple[Values, Values]:
        """Round medians of both, of the rounds in which both were measured."""
        ours, theirs = self.round_medians_ms(base, boundary), self.round_medians_ms(name, boundary)
        common = sorted(ours.keys() & theirs.keys())
        return np.asarray([ours[r] for r in common]), np.asarray([theirs[r] for r in common])

    def ratio(self, base: str, name: str, confidence: float = 0.95) -> Ratio | None:
        """How many times faster ``name`` is than ``base``; None for too few rounds in common."""
        return speed_up(*self.paired_ms(base, name), confidence)


NOTHING_LEFT = "there is nothing left to compare"

Decide = Callable[[Measured, Sequence[str], float], Stop | None]
"""(what was seen, who is still there, seconds since the first round) → whether to stop."""


@dataclass(frozen=True)
class Plan:
    """Which contender all others are compared with, and when it is enough."""

    reference: str
    rule: StopRule
    seed: int = 0
    launch: int = 0
    """Which of the launches this is, from 0."""
    launches: int = 1
    max_rounds: int = 10_000
    decide: Decide | None = None
    """Decides in place of the rule when it is enough."""


def run_rounds(
    contenders: Mapping[str, Contender],
    latencies_ms: Mapping[str, float],
    plan: Plan,
    *,
    clock: Callable[[], float],
    before: Measured | None = None,
    sensors: Callable[[], Mapping[str, Any]] = dict,
    progress: Progress = no_progress,
) -> Measured:
    """Visit all contenders in rounds. A contender that is lost is left out from then on.

    Without the reference nothing can be compared, so that losing it ends the rounds. Ctrl-C ends them too; what was
    measured is returned: ``before``, what earlier launches have seen, with what this one adds.
    """
    measured = before or Measured({name: [] for name in contenders})
    measured.stop = None
    iterations = {name: iterations_per_block(latencies_ms[name]) for name in contenders}
    alive = list(contenders)
    order: list[str] = []
    shuffle = random.Random(plan.seed + plan.launch)
    first, spent_s, started = measured.rounds, measured.elapsed_s, clock()
    try:
        measured.sensors.append(sensors())
        while measured.stop is None and measured.rounds < plan.max_rounds:
            if (measured.rounds - first) % 2:
                order = [name for name in reversed(order) if name in alive]
            else:
                order = shuffle.sample(alive, len(alive))
            for position, name in enumerate(order):
                spent = min(1.0, (spent_s + clock() - started) / plan.rule.budget_s)
                progress(f"round {measured.rounds + 1}", spent)
                try:
                    samples = contenders[name].visit(iterations[name])
                except WorkerLost as loss:
                    measured.lost[name] = f"round {measured.rounds + 1}: {loss}"
                    alive.remove(name)
                    continue
                measured.visits[name].append(Visit(measured.rounds, position, samples, plan.launch))
            measured.rounds += 1
            measured.sensors.append(sensors())
            measured.elapsed_s = spent_s + clock() - started
            if plan.reference in measured.lost or len(alive) < 2:
                measured.stop = Stop(NOTHING_LEFT, reached=False)
            else:
                decide = plan.decide or partial(_look, plan, measured.rounds - first)
                measured.stop = decide(measured, alive, measured.elapsed_s)
    except KeyboardInterrupt:
        measured.interrupted = True
    return measured


def _look(plan: Plan, of_this_launch: int, measured: Measured, alive: Sequence[str], elapsed_s: float) -> Stop | None:
    """Whether all launches until now have done their part, and this one at least a launch's share of the first look."""
    rule = after_launches(plan.rule, plan.launch + 1, plan.launches)
    enough = of_this_launch >= math.ceil(plan.rule.first_look / plan.launches)
    if not (enough and is_look(measured.rounds, rule.first_look)) and not elapsed_s >= rule.budget_s:
        return None
    others = [name for name in alive if name != plan.reference]
    ratios = [measured.ratio(plan.reference, name) for name in others]
    widths = [ratio.half_width if ratio is not None else None for ratio in ratios]
    counts = [measured.samples_ms(name).size for name in alive]
    return should_stop(rule, measured.rounds, elapsed_s, widths, counts)
