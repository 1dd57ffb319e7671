"""Rounds, in which every workload runs one block, until the stop rule has enough.

The machine is never the same for two seconds. So each round runs one block of every workload, in random order, every
second round in the reverse of the one before, and only blocks of the same round are compared. Clocks, sensors and
blocks come from outside, so that every rule here can be tested without waiting.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from bench.harness.worker_process import WorkerLost
from bench.harness.workload import HOST_E2E, Samples
from bench.stats.statistics import Ratio, Values, speed_up
from bench.stats.stopping import Stop, StopRule, after_launches, is_look, iterations_per_block, should_stop
from export.common.progress import Progress, no_progress

RunBlock = Callable[[int], Samples]
"""Number of iterations → latencies in ms at each boundary. Raises ``WorkerLost`` if no more blocks can follow."""


@dataclass(frozen=True)
class Block:
    """Samples of one workload in one round; ``position`` is its place in the round's order."""

    round: int
    position: int
    samples_ms: Samples
    launch: int = 0
    """Rounds are counted on over launches."""


@dataclass
class Rounds:
    """Blocks of all rounds so far, with the sensors read between them."""

    blocks: dict[str, list[Block]]
    """Workload's name → its blocks."""
    completed: int = 0
    elapsed_s: float = 0.0
    lost: dict[str, str] = field(default_factory=dict)
    """Workload's name → reason why its worker was lost."""
    sensors: list[Mapping[str, Any]] = field(default_factory=list)
    """One reading before each launch's first round, and one after each round."""
    stop: Stop | None = None
    interrupted: bool = False

    def of_launch(self, launch: int) -> "Rounds":
        """Return the blocks of this launch alone."""
        return Rounds({name: [b for b in blocks if b.launch == launch] for name, blocks in self.blocks.items()})

    def samples_by_round(self, name: str, boundary: str = HOST_E2E) -> dict[int, Values]:
        """Return the samples in ms of each round in which the boundary was measured."""
        blocks = [block for block in self.blocks[name] if boundary in block.samples_ms]
        return {block.round: np.asarray(block.samples_ms[boundary], np.float64) for block in blocks}

    def round_medians_ms(self, name: str, boundary: str = HOST_E2E) -> dict[int, float]:
        """Return the median of each round's samples."""
        return {b.round: median(b.samples_ms[boundary]) for b in self.blocks[name] if boundary in b.samples_ms}

    def samples_ms(self, name: str, boundary: str = HOST_E2E) -> Values:
        """Return all samples in the order in which they were taken."""
        return np.concatenate([np.empty(0), *self.samples_by_round(name, boundary).values()])

    def paired_ms(self, baseline: str, candidate: str, boundary: str = HOST_E2E) -> tuple[Values, Values]:
        """Return the round medians of two workloads, of the rounds in which both were measured."""
        sides = [self.round_medians_ms(name, boundary) for name in (baseline, candidate)]
        common = sorted(sides[0].keys() & sides[1].keys())
        first, second = (np.asarray([medians[index] for index in common]) for medians in sides)
        return first, second

    def ratio(self, baseline: str, candidate: str, confidence: float = 0.95) -> Ratio | None:
        """Return how many times faster the candidate is; None for too few common rounds."""
        return speed_up(*self.paired_ms(baseline, candidate), confidence)


NOTHING_LEFT = "there is nothing left to compare"

Decide = Callable[[Rounds, Sequence[str], float], Stop | None]
"""(rounds so far, names of the workloads still running, seconds since the first round) → whether to stop."""


@dataclass(frozen=True)
class Plan:
    """Reference of the comparison, and the rule that ends the rounds."""

    reference: str
    rule: StopRule
    seed: int = 0
    launch: int = 0
    """Number of this launch, from 0."""
    launches: int = 1
    max_rounds: int = 10_000
    decide: Decide | None = None
    """Stop decision that replaces the rule."""


def run_rounds(
    runners: Mapping[str, RunBlock],
    latencies_ms: Mapping[str, float],
    plan: Plan,
    *,
    clock: Callable[[], float],
    earlier: Rounds | None = None,
    sensors: Callable[[], Mapping[str, Any]] = dict,
    progress: Progress = no_progress,
) -> Rounds:
    """Run blocks of all workloads in rounds; leave out a workload whose worker was lost.

    Losing the reference ends the rounds, since nothing can be compared without it. Ctrl-C ends them too.

    Args:
        runners: workload's name → function that runs one block.
        latencies_ms: workload's name → approximate latency, for the number of iterations.
        plan: the comparison and its stop rule.
        clock: seconds, monotonic.
        earlier: rounds of earlier launches; this launch's are added to them.
        sensors: read between rounds.
        progress: called before each block.

    Returns:
        All rounds so far.
    """
    rounds = earlier or Rounds({name: [] for name in runners})
    rounds.stop = None
    alive, order = list(runners), list[str]()
    shuffle = random.Random(plan.seed + plan.launch)
    first, spent_s, started = rounds.completed, rounds.elapsed_s, clock()
    try:
        rounds.sensors.append(sensors())
        while rounds.stop is None and rounds.completed < plan.max_rounds:
            if (rounds.completed - first) % 2:
                order = [name for name in reversed(order) if name in alive]
            else:
                order = shuffle.sample(alive, len(alive))
            for position, name in enumerate(order):
                share = min(1.0, (spent_s + clock() - started) / plan.rule.budget_s)
                progress(f"round {rounds.completed + 1}", share)
                try:
                    samples = runners[name](iterations_per_block(latencies_ms[name]))
                except WorkerLost as loss:
                    rounds.lost[name] = f"round {rounds.completed + 1}: {loss}"
                    alive.remove(name)
                    continue
                rounds.blocks[name].append(Block(rounds.completed, position, samples, plan.launch))
            rounds.completed += 1
            rounds.sensors.append(sensors())
            rounds.elapsed_s = spent_s + clock() - started
            rounds.stop = _decide(plan, rounds, alive, rounds.completed - first)
    except KeyboardInterrupt:
        rounds.interrupted = True
    return rounds


def _decide(plan: Plan, rounds: Rounds, alive: Sequence[str], rounds_of_launch: int) -> Stop | None:
    if plan.reference in rounds.lost or len(alive) < 2:
        return Stop(NOTHING_LEFT, reached=False)
    if plan.decide is not None:
        return plan.decide(rounds, alive, rounds.elapsed_s)
    # All launches so far must have done their part, and this one its share of the first look.
    rule = after_launches(plan.rule, plan.launch + 1, plan.launches)
    enough = rounds_of_launch >= math.ceil(plan.rule.first_look / plan.launches)
    if not (enough and is_look(rounds.completed, rule.first_look)) and not rounds.elapsed_s >= rule.budget_s:
        return None
    ratios = [rounds.ratio(plan.reference, name) for name in alive if name != plan.reference]
    widths = [ratio.half_width if ratio is not None else None for ratio in ratios]
    counts = [rounds.samples_ms(name).size for name in alive]
    return should_stop(rule, rounds.completed, rounds.elapsed_s, widths, counts)
