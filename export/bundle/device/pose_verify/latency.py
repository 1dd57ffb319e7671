"""Latency in rounds: each round times every session in random order, and the next round in the reverse order.

A machine changes from second to second, so only blocks of the same round may be compared. Each block begins with a
pause, in which threads of the session before come to rest, and one untimed run.
"""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Mapping, NamedTuple

from pose_verify.goldens import nearest_rank

ROUNDS = 20
"""Enough for a p90; fewer do not show tails, whatever the number of samples."""
LEAST_ROUNDS = 3
ITERATIONS = 4
PAUSE_S = 0.05
FLOORS = {"p90": (0.9, 64), "p99": (0.99, 662)}
"""Samples that a percentile needs: MLPerf LoadGen's counts."""
BOUNDARY = "host to host: normalised float32 images in memory → joints in memory, one image"

Run = Callable[[], object]


class Protocol(NamedTuple):
    """Parameters of the measurement."""

    seconds: float
    rounds: int = ROUNDS
    iterations: int = ITERATIONS
    pause_s: float = PAUSE_S
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain data for the report."""
        return dict(self._asdict(), boundary=BOUNDARY, floors={name: floor for name, (_, floor) in FLOORS.items()})


def time_rounds(
    runs: Mapping[str, Run],
    protocol: Protocol,
    report_error: Callable[[str, Exception], None],
    report_round: Callable[[int], None] = lambda rounds: None,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, list[list[float]]]:
    """Return latencies in ms, one list per round: at least three rounds, and further ones while there is time.

    A run that raises is reported and has no latencies; the others go on without it.
    """
    rounds_ms: dict[str, list[list[float]]] = {name: [] for name in runs}
    shuffle, order, start = random.Random(protocol.seed), list(runs), clock()
    for index in range(protocol.rounds if runs else 0):
        order = order[::-1] if index % 2 else shuffle.sample(list(rounds_ms), len(rounds_ms))
        for name in order:
            pause(protocol.pause_s)
            try:
                rounds_ms[name].append(time_block(runs[name], protocol.iterations, clock))
            except Exception as failure:
                report_error(name, failure)
                del rounds_ms[name]
        order = [name for name in order if name in rounds_ms]
        report_round(index + 1)
        if index + 1 >= LEAST_ROUNDS and clock() - start >= protocol.seconds:
            break
    return rounds_ms


def time_block(run: Run, iterations: int, clock: Callable[[], float]) -> list[float]:
    """Return the latencies in ms of some runs, after an untimed one."""
    run()
    samples = []
    for _ in range(iterations):
        begin = clock()
        run()
        samples.append(1e3 * (clock() - begin))
    return samples


def summarise(rounds_ms: list[list[float]]) -> dict[str, Any]:
    """Return counts, p50, p90 and p99 (None if samples or rounds are too few), and all samples."""
    samples = [sample for block in rounds_ms for sample in block]
    result: dict[str, Any] = {"rounds": len(rounds_ms), "samples": len(samples), "p50_ms": nearest_rank(samples, 0.5)}
    for name, (quantile, floor) in FLOORS.items():
        enough = len(samples) >= floor and len(rounds_ms) >= ROUNDS
        result[f"{name}_ms"] = nearest_rank(samples, quantile) if enough else None
    return dict(result, rounds_ms=[[round(sample, 6) for sample in block] for block in rounds_ms])


def paired_ratio(base_ms: list[list[float]], other_ms: list[list[float]]) -> float:
    """Return the median over rounds of the ratio of round medians, other to base."""
    ratios = [nearest_rank(other, 0.5) / nearest_rank(base, 0.5) for base, other in zip(base_ms, other_ms)]
    return nearest_rank(ratios, 0.5)
