"""Latency in turns: all contenders in each round, in random order, every second round in the reverse of the one before.

The machine is never the same for two seconds, so only what was measured in the same round may be compared. Each visit
begins with a pause, in which threads of the one before come to rest, and one run that is not timed.
"""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Mapping, NamedTuple

from pose_verify.goldens import nearest_rank

ROUNDS = 20
"""Enough for a p90; tails are not told from fewer, whatever the number of samples."""
ITERATIONS = 4
PAUSE_S = 0.05
FLOORS = {"p90": (0.9, 64), "p99": (0.99, 662)}
"""Samples that a percentile needs: MLPerf LoadGen's counts."""
BOUNDARY = "host to host: normalised float32 images in memory → joints in memory, one image"

Run = Callable[[], object]


class Protocol(NamedTuple):
    """How it is measured."""

    seconds: float
    rounds: int = ROUNDS
    iterations: int = ITERATIONS
    pause_s: float = PAUSE_S
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain data, for the report."""
        return dict(self._asdict(), boundary=BOUNDARY, floors={name: floor for name, (_, floor) in FLOORS.items()})


def take_turns(
    contenders: Mapping[str, Run],
    protocol: Protocol,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
    told: Callable[[int], None] = lambda rounds: None,
    broke: Callable[[str, Exception], None] | None = None,
) -> dict[str, list[list[float]]]:
    """Latencies in ms, a list of each round's: at least three rounds, and further ones while there is time.

    Where ``broke`` is given, a contender that raises is told to it and has no latencies; the others go on without it.
    """
    taken: dict[str, list[list[float]]] = {name: [] for name in contenders}
    shuffle, order, started = random.Random(protocol.seed), list(contenders), clock()
    running = dict(contenders)
    for index in range(protocol.rounds if contenders else 0):
        order = order[::-1] if index % 2 else shuffle.sample(list(running), len(running))
        for name in order:
            pause(protocol.pause_s)
            try:
                taken[name].append(visit(running[name], protocol.iterations, clock))
            except Exception as failure:
                if broke is None:
                    raise
                broke(name, failure)
                del running[name], taken[name]
        order = [name for name in order if name in running]
        told(index + 1)
        if index + 1 >= min(3, protocol.rounds) and clock() - started >= protocol.seconds:
            break
    return taken


def visit(run: Run, iterations: int, clock: Callable[[], float]) -> list[float]:
    """Latencies in ms of these many runs, after one that is not timed."""
    run()
    samples = []
    for _ in range(iterations):
        begin = clock()
        run()
        samples.append(1e3 * (clock() - begin))
    return samples


def summarise(rounds_ms: list[list[float]]) -> dict[str, Any]:
    """p50, and p90 and p99 where there are as many samples as they need and rounds enough; counts, and all samples."""
    samples = [sample for samples in rounds_ms for sample in samples]
    result: dict[str, Any] = {"rounds": len(rounds_ms), "samples": len(samples), "p50_ms": nearest_rank(samples, 0.5)}
    for name, (quantile, floor) in FLOORS.items():
        enough = len(samples) >= floor and len(rounds_ms) >= ROUNDS
        result[f"{name}_ms"] = nearest_rank(samples, quantile) if enough else None
    return dict(result, rounds_ms=[[round(sample, 6) for sample in samples] for samples in rounds_ms])


def paired_ratio(base_ms: list[list[float]], other_ms: list[list[float]]) -> float | None:
    """How many times as long the other takes: the median over rounds of the ratios of round medians."""
    ratios = [nearest_rank(other, 0.5) / nearest_rank(base, 0.5) for base, other in zip(base_ms, other_ms)]
    return nearest_rank(ratios, 0.5) if ratios else None
