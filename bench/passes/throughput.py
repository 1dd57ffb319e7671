"""Throughput in images per second, and the latency at each point: a closed loop, apart from the latency rounds.

A fixed number of calls is in flight; when one ends, the next begins. This is not 1/latency: with eight images in a
call, or two calls at a time, a runtime does more in a second and takes longer for each.
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
"""Smallest gain of a larger batch that continues the sweep."""
SAME_BINS = 0.1
"""Largest distance of a joint from that of the same image run by itself; mixed-up images differ by whole bins."""

Point = Mapping[str, float]
Run = Callable[[Any], Any]


class ClosedLoop:
    """A measurement of points of the sweep, each for so many seconds."""

    def __init__(self, session: Session, inputs: Sequence[Any], seconds: float) -> None:
        self._session, self._inputs, self._seconds = session, inputs, seconds
        self._singles: dict[int, Any] = {}

    def __call__(self, batch: int, in_flight: int) -> Point:
        """Measure ``in_flight`` calls of ``batch`` images. Callers have different images, so mixed-up joints show.

        Raises:
            ValueError: joints differ from those of the same images run one by one.
        """
        indices = [[(caller + place) % len(self._inputs) for place in range(batch)] for caller in range(in_flight)]
        singles = [np.concatenate([self._single(index) for index in row]) for row in indices]
        batches = [np.concatenate([self._inputs[index] for index in row]) for row in indices]
        run: Run = self._session.run
        if in_flight > 1:
            assert isinstance(self._session, Concurrent)
            run = self._session.for_callers(in_flight)
        latencies: list[list[float]] = [[] for _ in range(in_flight)]

        def keep_going(images: Any, latencies_ms: list[float]) -> Any:
            joints = None
            while not latencies_ms or time.perf_counter() < until:
                started = time.perf_counter_ns()
                joints = run(images)
                latencies_ms.append((time.perf_counter_ns() - started) / 1e6)
            return joints

        with _callers(in_flight) as map_calls:
            first = list(map_calls(run, batches))  # untimed: the runtime prepares for this shape
            began = time.perf_counter()
            until = began + self._seconds
            last = list(map_calls(keep_going, batches, latencies))
            elapsed = time.perf_counter() - began
        for joints, expected in zip([*first, *last], [*singles, *singles], strict=True):
            if not (joints.shape == expected.shape and np.abs(joints - expected).max() <= SAME_BINS):
                raise ValueError(f"batch {batch}, {in_flight} in flight, gives other joints than single images")
        calls = sum(map(len, latencies))
        return {
            "batch": batch,
            "in_flight": in_flight,
            "images_per_s": batch * calls / elapsed,
            "p50_ms": float(np.median(np.concatenate(latencies))),
            "seconds": elapsed,
            "calls": calls,
        }

    def _single(self, index: int) -> Any:
        """Return the joints of one image run by itself, once for all points."""
        if index not in self._singles:
            self._singles[index] = self._session.run(self._inputs[index])
        return self._singles[index]


@contextmanager
def _callers(count: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a ``map`` with so many calls at once.

    A single caller stays in this thread: called from another one, PyTorch used one of its two threads only.
    """
    if count == 1:
        yield map
        return
    with ThreadPoolExecutor(count) as pool:
        yield pool.map


def sweep(measure: Callable[..., Point], *, concurrent: bool, largest: int | None = None) -> Iterator[Point]:
    """Measure batches 1, 2, 4, … while they gain; then, at the best batch, more calls in flight while they gain.

    Args:
        measure: (batch=…, in_flight=…) → a point, as ``ClosedLoop`` does.
        concurrent: whether several calls can be in flight.
        largest: largest batch; None: no limit.
    """
    best: Point | None = None
    for batch in (size for size in BATCHES if largest is None or size <= largest):
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
