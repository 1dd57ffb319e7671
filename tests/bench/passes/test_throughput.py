"""The closed loop, and how far the sweep goes."""

import threading
from typing import Any

import numpy as np
import pytest

from bench.passes.throughput import ClosedLoop, sweep
from tests.support.bench_sessions import Sleeper

IMAGES = [np.full((1, 8, 8, 3), value, np.uint8) for value in (10, 20, 30)]


class Shared(Sleeper):
    """Several callers may run it."""

    def for_callers(self, count: int) -> Any:
        return self.run


def test_all_calls_are_counted() -> None:
    session = Shared(0.001)
    point = ClosedLoop(session, IMAGES, seconds=0.05)(batch=4, in_flight=2)
    assert point["calls"] >= 2
    assert session.runs == point["calls"] + 3 + 2  # each image alone, and one call of each caller before
    assert point["images_per_s"] == pytest.approx(4 * point["calls"] / point["seconds"])
    assert point["seconds"] >= 0.05


def test_one_caller_is_the_thread_that_was_timed() -> None:
    """PyTorch's thread pools belong to the thread that calls: in another one it was half as fast."""
    threads, both = {threading.get_ident()}, threading.Barrier(2)

    class Watched(Shared):
        def run(self, images: Any) -> Any:
            if threading.get_ident() not in threads:
                threads.add(threading.get_ident())
                both.wait(60)  # until the other caller has begun as well
            return super().run(images)

    loop = ClosedLoop(Watched(0.001), IMAGES, seconds=0.02)
    loop(batch=1, in_flight=1)
    assert threads == {threading.get_ident()}
    loop(batch=1, in_flight=2)
    assert len(threads) == 3


def test_a_batch_whose_images_are_mixed_up_is_noticed() -> None:
    class MixedUp(Sleeper):
        def run(self, images: Any) -> Any:
            return super().run(images)[::-1]

    with pytest.raises(ValueError, match="batch 2, 1 in flight, gives other joints"):
        ClosedLoop(MixedUp(), IMAGES, seconds=0.01)(batch=2, in_flight=1)


class Overwriting(Sleeper):
    """Several callers get the one place where joints lie."""

    def for_callers(self, count: int) -> Any:
        place = np.zeros((1, 18, 3), np.float32)

        def run(images: Any) -> Any:
            place[:] = self.run(images)
            return place

        return run


def test_joints_that_come_to_another_caller_are_noticed() -> None:
    with pytest.raises(ValueError, match="batch 1, 2 in flight, gives other joints"):
        ClosedLoop(Overwriting(), IMAGES, seconds=0.01)(batch=1, in_flight=2)


def test_the_sweep_ends_where_nothing_is_gained() -> None:
    rates = {(1, 1): 100, (2, 1): 150, (4, 1): 155, (2, 2): 200, (2, 4): 201}

    def measure(batch: int, in_flight: int) -> dict[str, float]:
        return {"batch": batch, "in_flight": in_flight, "images_per_s": rates[batch, in_flight]}

    seen = [(p["batch"], p["in_flight"]) for p in sweep(measure, concurrent=True)]
    assert seen == [(1, 1), (2, 1), (4, 1), (2, 2), (2, 4)]
    assert [(p["batch"], p["in_flight"]) for p in sweep(measure, concurrent=False)] == [(1, 1), (2, 1), (4, 1)]
