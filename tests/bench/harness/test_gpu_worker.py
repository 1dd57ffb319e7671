"""A worker that times a model on a GPU: its warm-up, and the memory of its images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness.timed_model import TimedModel
from bench.harness.workload import Workload
from bench.stats.steadiness import WarmUpRule
from tests.support.bench_sessions import IMAGES, Sleeper, write_inputs


@pytest.mark.parametrize("gpu", [False, True])
def test_a_gpus_worker_warms_up_longer_and_by_the_gpus_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool
) -> None:
    readings: list[float] = []

    def sm_clock_mhz() -> float:
        readings.append(2520.0)
        return readings[-1]

    monkeypatch.setattr("bench.harness.timed_model.GPU_WARM_UP_S", 0.2)
    monkeypatch.setattr("bench.harness.timed_model.GPU_UNRECORDED_S", 0.15)
    monkeypatch.setattr("bench.machine.gpu_sensors.sm_clock_mhz", sm_clock_mhz)
    rule = WarmUpRule(minimum_s=0.01, cap_s=0.3, window_s=0.02, spread=10, clock_spread=1)
    session = Sleeper()
    model = TimedModel(Workload("A", lambda: session, gpu=gpu), write_inputs(tmp_path))
    model.load()
    assert model.warm_up(rule).seconds >= 0.2 * gpu
    assert bool(readings) == gpu
    runs = session.runs
    model.run_block(5)
    assert session.runs - runs > 5


class Pinned(Sleeper):
    """A session with its own memory for images."""

    images: list[Any]

    def pinned(self, images: Any) -> Any:
        return images.copy() + 1

    def run(self, images: Any) -> Any:
        self.images = images
        return super().run(images)


def test_images_are_copied_to_the_memory_of_the_session(tmp_path: Path) -> None:
    session = Pinned()
    TimedModel(Workload("A", lambda: session), write_inputs(tmp_path)).load()
    np.testing.assert_array_equal(session.images, IMAGES[:1] + 1)
