"""The timing loop, and the unrecorded runs before every timed block."""

import gc
import time
from collections.abc import Callable, Sequence

UNRECORDED_ITERATIONS, UNRECORDED_S = 3, 0.02
"""Both are reached at the beginning of each block: caches and clocks recover."""

Runs = Sequence[Callable[[], object]]


def settle(runs: Runs, seconds: float = UNRECORDED_S) -> None:
    """Run for some time without a record."""
    began, unrecorded = time.perf_counter(), 0
    while unrecorded < UNRECORDED_ITERATIONS or time.perf_counter() - began < seconds:
        runs[unrecorded % len(runs)]()
        unrecorded += 1


def time_runs(runs: Runs, iterations: int, start: int = 0, after: Callable[[], None] | None = None) -> list[float]:
    """Return latencies in ms of ``runs`` in turn, without garbage collection; ``after`` is called in between."""
    durations, clock, count = [0] * iterations, time.perf_counter_ns, len(runs)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(iterations):
            run = runs[(start + index) % count]
            started = clock()
            run()
            durations[index] = clock() - started
            if after is not None:
                after()
    finally:
        if collecting:
            gc.enable()
    return [nanoseconds / 1e6 for nanoseconds in durations]
