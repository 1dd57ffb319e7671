"""From a photo to joints: by the code that ``predict`` uses, each stage by the clock."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness.measure import measure_workloads
from bench.harness.measurements import Measurements
from bench.harness.workload import Workload
from bench.passes.image_to_joints import (
    FEWEST,
    HEIGHT,
    MOST,
    UNRECORDED,
    WIDTH,
    Predictor,
    drawn_photo,
    measure_image_to_joints,
)
from bench.results.result import ImageToJoints
from bench.sessions.exported import ExportFolder, load_session, read_export
from bench.sessions.inference import STAGES, Lap
from export.images.figures import EVALUATION_SEED, IMAGE_SIZE, draw_scene
from tests.integration.test_predict import NEAR_PX
from tests.support.bench_quick import QUICK, check_parity
from tests.support.bench_sessions import IMAGES, Sleeper, predict_nothing, refuse


class Stages:
    """Takes so many milliseconds for each stage, by a clock of its own."""

    def __init__(self, **ms: float) -> None:
        self.ms, self.now_ns, self.runs = ms, 0, 0

    def __call__(self, lap: Lap) -> None:
        self.runs += 1
        for stage, ms in self.ms.items():
            self.now_ns += round(ms * 1e6)
            lap(stage)


def measured(of: Stages, seconds: float) -> dict[str, Any]:
    return measure_image_to_joints(of, seconds, clock=lambda: of.now_ns)


def test_total_and_stages_are_medians_of_the_recorded_runs() -> None:
    of = Stages(crop=1.0, normalise=2.0, network=20.0, decode=0.5)
    seen = measured(of, seconds=0.1)
    assert seen == {
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "samples": 5,  # 23.5 ms each: the fifth begins within 0.1 s
        "total_p50_ms": 23.5,
        "crop_p50_ms": 1.0,
        "normalise_p50_ms": 2.0,
        "network_p50_ms": 20.0,
        "decode_p50_ms": 0.5,
    }
    assert of.runs == 5 + UNRECORDED
    ImageToJoints.model_validate(seen)


def test_a_network_that_takes_pixels_has_no_time_for_normalising() -> None:
    seen = measured(Stages(crop=1.0, network=20.0, decode=0.5), seconds=0.1)
    assert (seen["normalise_p50_ms"], seen["network_p50_ms"]) == (None, 20.0)
    ImageToJoints.model_validate(seen)


def test_slow_networks_are_run_a_few_times_and_quick_ones_not_for_ever() -> None:
    assert measured(Stages(network=5000.0), seconds=0.1)["samples"] == FEWEST
    assert measured(Stages(network=0.001), seconds=100)["samples"] == MOST


@pytest.fixture(scope="module")
def exported(demo_export: Path) -> ExportFolder:
    return read_export(demo_export)


def test_joints_lie_on_the_person_in_the_photo(exported: ExportFolder) -> None:
    session = load_session(exported, "onnxruntime", "fp32", 1)
    stages: list[str] = []
    prediction: Any = Predictor(exported)(session, stages.append)
    assert tuple(stages) == STAGES
    photo, (x, y, width, height) = drawn_photo()
    assert photo.image.shape == (HEIGHT, WIDTH, 3)
    assert 0 <= x < x + width <= WIDTH
    assert 0 <= y < y + height <= HEIGHT
    truth = draw_scene(EVALUATION_SEED, 0).joints_px * (HEIGHT / IMAGE_SIZE) + ((WIDTH - HEIGHT) // 2, 0)
    assert np.linalg.norm(prediction.image_px - truth, axis=1).mean() < NEAR_PX * HEIGHT / IMAGE_SIZE


# ── in a session ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def measurements() -> Measurements:
    workloads = [
        Workload("A", Sleeper, predict=predict_nothing),
        Workload("B", Sleeper, predict=refuse),
        Workload("A#control", Sleeper, predict=predict_nothing),
    ]
    settings = replace(QUICK, image_s=0.05, throughput_s=0.02)
    return measure_workloads(workloads, "A", IMAGES, check_parity, settings)


def test_the_pass_runs_in_the_worker_that_was_timed(measurements: Measurements) -> None:
    record = ImageToJoints.model_validate(measurements.records["A"].image_to_joints)
    assert record.samples >= FEWEST
    assert record.normalise_p50_ms is None
    assert measurements.complete


def test_a_failed_pass_leaves_a_reason_and_no_fault(measurements: Measurements) -> None:
    record = measurements.records["B"]
    assert record.image_to_joints is None
    assert record.image_fault is not None
    assert "computes no pose" in record.image_fault
    assert record.faults == []
    assert record.throughput
    assert measurements.rounds.blocks["B"]


def test_the_control_takes_part_in_rounds_only(measurements: Measurements) -> None:
    record = measurements.records["A#control"]
    assert measurements.rounds.blocks["A#control"]
    assert (record.image_to_joints, record.throughput) == (None, None)
