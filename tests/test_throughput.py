"""The closed loop, and how far the sweep goes."""

from typing import Any

import numpy as np
import pytest

from bench.throughput import closed_loop, sweep
from tests.bench_subjects import Sleeper

IMAGES = [np.full((1, 8, 8, 3), value, np.uint8) for value in (10, 20, 30)]


def test_all_calls_are_counted() -> None:
    backend = Sleeper(0.001)
    point = closed_loop(backend, IMAGES, batch=4, in_flight=2, seconds=0.05)
    assert point["calls"] >= 2
    assert backend.runs == point["calls"] + 5  # four alone, one together
    assert point["images_per_s"] == pytest.approx(4 * point["calls"] / point["seconds"])


def test_a_batch_whose_images_are_mixed_up_is_noticed() -> None:
    class MixedUp(Sleeper):
        def run(self, images: Any) -> Any:
            return super().run(images)[::-1]

    with pytest.raises(ValueError, match="other joints"):
        closed_loop(MixedUp(), IMAGES, batch=2, in_flight=1, seconds=0.01)


def test_the_sweep_ends_where_nothing_is_gained() -> None:
    rates = {(1, 1): 100, (2, 1): 150, (4, 1): 155, (2, 2): 200, (2, 4): 201}

    def measure(batch: int, in_flight: int) -> dict[str, float]:
        return {"batch": batch, "in_flight": in_flight, "images_per_s": rates[batch, in_flight]}

    seen = [(p["batch"], p["in_flight"]) for p in sweep(measure, concurrent=True)]
    assert seen == [(1, 1), (2, 1), (4, 1), (2, 2), (2, 4)]
    assert [(p["batch"], p["in_flight"]) for p in sweep(measure, concurrent=False)] == [(1, 1), (2, 1), (4, 1)]
