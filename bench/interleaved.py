"""Timing several ways of computing the same thing side by side, so that noise strikes all alike.

On a shared machine one after the other tells nothing: two identical sessions "differ" in half of such
trials. So all take turns in rounds of random order, and a speed-up is taken from the rounds
(``bench.statistics.speed_up``). This is the small form, in one process; ``bench.rounds`` gives each its own.
"""

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.machine import machine
from export.progress import Progress, silent


def protocol(rounds: int, iterations: int) -> str:
    """In words, for whoever reads the figures."""
    return f"{rounds} rounds of {iterations}, random order, one process; 95 % interval of the median round ratio"


def single_thread_record(rounds: int, iterations: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The result of contenders that took turns on one image and one thread, as plain data."""
    return {
        "schema_version": "1.0",
        "boundary": "host_e2e",
        "batch": 1,
        "threads": 1,
        "protocol": protocol(rounds, iterations),
        "machine": machine(),
        "rows": rows,
    }


@dataclass(frozen=True)
class Timing:
    """One contender's latencies: (rounds, iterations) in ms, in the order in which they were taken."""

    samples_ms: tuple[tuple[float, ...], ...]

    @property
    def round_medians_ms(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """One median a round."""
        return np.asarray([np.median(samples) for samples in self.samples_ms])

    @property
    def median_ms(self) -> float:
        """Median of the rounds' medians."""
        return float(np.median(self.round_medians_ms))


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    iterations: int,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Timing]:
    """Time each contender ``iterations`` times a round, after one untimed call at each turn."""
    order = random.Random(seed)
    samples: dict[str, list[tuple[float, ...]]] = {name: [] for name in contenders}
    names = list(contenders)
    collecting = gc.isenabled()
    for done in range(rounds):
        order.shuffle(names)
        for name in names:
            progress(f"round {done + 1} of {rounds}", done / rounds)
            run = contenders[name]
            run()
            taken = []
            gc.disable()
            try:
                for _ in range(iterations):
                    started = time.perf_counter_ns()
                    run()
                    taken.append((time.perf_counter_ns() - started) / 1e6)
            finally:
                if collecting:
                    gc.enable()
            samples[name].append(tuple(taken))
    return {name: Timing(tuple(rows)) for name, rows in samples.items()}
