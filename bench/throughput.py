"""How many images a second, and what each call then takes: a closed loop, apart from the latency rounds.

So many calls are in flight all the time; as soon as one is done the next begins. This is not 1/latency: a runtime that
is given eight images at once, or two calls at a time, does more in a second and takes longer for each.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bench.backends.protocol import Backend

BATCHES = (1, 2, 4, 8, 16)
IN_FLIGHT = (1, 2, 4)
GAIN = 0.05
"""A larger batch that brings less than this ends the sweep."""
SAME_BINS = 0.1
"""How far a joint may lie from what the same image gave alone; a mixed-up batch is off by whole bins."""

Point = Mapping[str, float]


def closed_loop(
    backend: Backend, inputs: Sequence[Any], batch: int, in_flight: int, seconds: float
) -> dict[str, float]:
    """Keep ``in_flight`` calls of ``batch`` images going for ``seconds``.

    Raises:
        ValueError: images of a batch came out otherwise than alone.
    """
    images = np.concatenate([inputs[index % len(inputs)] for index in range(batch)])
    alone = np.concatenate([backend.run(inputs[index % len(inputs)]) for index in range(batch)])
    together = backend.run(images)
    if not (together.shape == alone.shape and np.abs(together - alone).max() <= SAME_BINS):
        raise ValueError(f"a batch of {batch} gives other joints than its images alone")
    latencies: list[list[float]] = [[] for _ in range(in_flight)]
    began = time.perf_counter()
    until = began + seconds

    def keep_going(taken: list[float]) -> None:
        while not taken or time.perf_counter() < until:
            started = time.perf_counter_ns()
            backend.run(images)
            taken.append((time.perf_counter_ns() - started) / 1e6)

    callers = [threading.Thread(target=keep_going, args=(taken,)) for taken in latencies]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    elapsed = time.perf_counter() - began
    calls = sum(map(len, latencies))
    return {
        "batch": batch,
        "in_flight": in_flight,
        "images_per_s": batch * calls / elapsed,
        "p50_ms": float(np.median(np.concatenate(latencies))),
        "seconds": elapsed,
        "calls": calls,
    }


def sweep(measure: Callable[..., Point], *, concurrent: bool, largest: int | None = None) -> Iterator[Point]:
    """Batches 1, 2, 4, … while they gain; then, at the best batch, more calls in flight while they gain.

    Args:
        measure: (batch=…, in_flight=…) → a point of ``closed_loop``.
        concurrent: whether the backend may be called by several threads.
        largest: how many images it takes at a time; None: as many as one likes.
    """
    best: Point | None = None
    for batch in (of for of in BATCHES if largest is None or of <= largest):
        point = measure(batch=batch, in_flight=1)
        yield point
        if best is not None and not _gains(point, best):
            break
        best = point
    assert best is not None
    for in_flight in IN_FLIGHT[1:] if concurrent else ():
        point = measure(batch=int(best["batch"]), in_flight=in_flight)
        yield point
        if not _gains(point, best):
            break
        best = point


def _gains(point: Point, best: Point) -> bool:
    return point["images_per_s"] > (1 + GAIN) * best["images_per_s"]
