"""A worker that times a model on a GPU: its warm-up, and the memory of its images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness.job import Job
from bench.harness.timed_model import TimedModel
from bench.stats.steadiness import WarmUpRule
from tests.support.bench_subjects import Sleeper, write_inputs


def test_a_gpus_worker_warms_up_longer_and_by_the_gpus_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def sm_clock_mhz() -> float:
        asked.append(2520.0)
        return asked[-1]

    monkeypatch.setattr("bench.harness.timed_model.GPU_WARM_UP_S", 0.2)
    monkeypatch.setattr("bench.harness.timed_model.GPU_UNRECORDED_S", 0.15)
    monkeypatch.setattr("bench.machine.gpu_sensors.sm_clock_mhz", sm_clock_mhz)
    rule = WarmUpRule(minimum_s=0.01, cap_s=0.3, window_s=0.02, spread=10, clock_spread=1)
    for gpu in (False, True):
        subject = TimedModel(Job(Sleeper, write_inputs(tmp_path), gpu=gpu))
        subject.load()
        assert subject.warm_up(rule).seconds >= 0.2 * gpu
        assert bool(asked) == gpu
        runs = subject._backend.runs  # type: ignore[attr-defined]
        subject.visit(5)
        assert subject._backend.runs - runs > 5  # type: ignore[attr-defined]


class Pinned(Sleeper):
    """Wants its images where it says."""

    def pinned(self, given: Any) -> Any:
        return given.copy() + 1


def test_images_are_laid_where_the_device_fetches_them(tmp_path: Path) -> None:
    subject = TimedModel(Job(Pinned, write_inputs(tmp_path)))
    subject.load()
    assert (subject._inputs[0] == np.load(write_inputs(tmp_path))[:1] + 1).all()
