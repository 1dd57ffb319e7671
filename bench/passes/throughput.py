"""How many images a second, and what each call then takes: a closed loop, apart from the latency rounds.

So many calls are in flight all the time; as soon as one is done the next begins. This is not 1/latency: a runtime that
is given eight images at once, or two calls at a time, does more in a second and takes longer for each.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.sessions.protocol import Concurrent, Session

BATCHES = (1, 2, 4, 8, 16)
IN_FLIGHT = (1, 2, 4)
GAIN = 0.05
"""A larger batch that brings less than this ends the sweep."""
SAME_BINS = 0.1
"""How far a joint may lie from what the same image gave alone; a mixed-up batch is off by whole bins."""

Point = Mapping[str, float]
Run = Callable[[Any], Any]


class ClosedLoop:
    """Measures points of the sweep: ``in_flight`` calls of ``batch`` images are kept going for so many seconds."""

    def __init__(self, backend: Session, inputs: Sequence[Any], seconds: float) -> None:
        self._backend, self._inputs, self._seconds = backend, inputs, seconds
        self._alone: dict[int, Any] = {}

    def __call__(self, batch: int, in_flight: int) -> Point:
        """One point. Each caller has images of its own, so that joints which come to another are noticed.

        Raises:
            ValueError: images came out otherwise than alone.
        """
        which = [[(caller + place) % len(self._inputs) for place in range(batch)] for caller in range(in_flight)]
        alone = [np.concatenate([self._joints_alone(index) for index in of]) for of in which]
        batches = [np.concatenate([self._inputs[index] for index in of]) for of in which]
        run: Run = self._backend.run
        if in_flight > 1:
            assert isinstance(self._backend, Concurrent)
            run = self._backend.for_callers(in_flight)
        latencies: list[list[float]] = [[] for _ in range(in_flight)]

        def keep_going(images: Any, taken: list[float]) -> Any:
            joints = None
            while not taken or time.perf_counter() < until:
                started = time.perf_counter_ns()
                joints = run(images)
                taken.append((time.perf_counter_ns() - started) / 1e6)
            return joints

        with _callers(in_flight) as each:
            first = list(each(run, batches))  # untimed: a runtime gets ready for this shape
            began = time.perf_counter()
            until = began + self._seconds
            last = list(each(keep_going, batches, latencies))
            elapsed = time.perf_counter() - began
        for joints, expected in zip([*first, *last], [*alone, *alone], strict=True):
            if not (joints.shape == expected.shape and np.abs(joints - expected).max() <= SAME_BINS):
                raise ValueError(f"batch {batch}, {in_flight} in flight, gives other joints than its images alone")
        calls = sum(map(len, latencies))
        return {
            "batch": batch,
            "in_flight": in_flight,
            "images_per_s": batch * calls / elapsed,
            "p50_ms": float(np.median(np.concatenate(latencies))),
            "seconds": elapsed,
            "calls": calls,
        }

    def _joints_alone(self, index: int) -> Any:
        """Of one image run by itself, once for all points."""
        if index not in self._alone:
            self._alone[index] = self._backend.run(self._inputs[index])
        return self._alone[index]


@contextmanager
def _callers(count: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """What calls a function so often at once, as ``map`` does one after the other.

    A single caller stays in this thread: PyTorch computed with one of its two threads where another one called it.
    """
    if count == 1:
        yield map
        return
    with ThreadPoolExecutor(count) as pool:
        yield pool.map


def sweep(measure: Callable[..., Point], *, concurrent: bool, largest: int | None = None) -> Iterator[Point]:
    """Batches 1, 2, 4, … while they gain; then, at the best batch, more calls in flight while they gain.

    Args:
        measure: (batch=…, in_flight=…) → a point, as ``ClosedLoop`` has it.
        concurrent: whether several calls can be in flight.
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
