"""Comparison with the FP64 ground truth finds every planted defect, and is inconclusive where it cannot decide."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from export.common.errors import BadInput, CheckFailed
from export.graph.deploy import deploy
from export.graph.onnx_graph import check_onnx
from export.model.architecture import Architecture
from export.model.network import build_network
from export.model.reference import run_reference
from export.parity.budgets import budget_for
from export.parity.comparison import (
    Joints,
    Parity,
    compare_joints,
    joint_spread,
    require_parity,
    summarize_errors,
    worst_run,
)
from export.parity.sessions import run_batches
from export.runtime.onnx_runtime import OnnxRuntimeSession
from export.runtime.pose import Volume, normalise
from tests.support.checkpoints import TINY, State, alive_weights
from tests.support.drawings import SHAPES_SEED, drawn_images

VOLUME = Volume.from_architecture(TINY)
FP32 = budget_for("fp32", trained=True)
COUNT = 10
TRUTH = np.random.default_rng(0).uniform(0, 31, (COUNT, 18, 3))


def compare(candidate: Joints, truth: Joints = TRUTH, fp32: Joints = TRUTH) -> Parity:
    return compare_joints(truth, fp32, candidate, VOLUME, FP32)


def with_nan(joints: Joints) -> Joints:
    changed = joints.copy()
    changed[3, 4, 2] = np.nan
    return changed


# ── exported files ───────────────────────────────────────────────────────────────────────────────────────────────────


def images(architecture: Architecture = TINY) -> NDArray[np.uint8]:
    return drawn_images(COUNT, architecture.input_size, SHAPES_SEED)


def truth_and_reference(weights: State, architecture: Architecture = TINY) -> tuple[Joints, Joints]:
    network = build_network(architecture, weights)
    reference = run_reference(network, images(architecture), batch=5)
    return run_reference(network.double(), images(architecture), batch=5), reference


@pytest.fixture
def exported(typed_files: dict[str, Path]) -> Path:
    return typed_files["fp32"]


@pytest.fixture(scope="module")
def references() -> tuple[Joints, Joints]:
    return truth_and_reference(alive_weights())


def joints_of(path: Path, batch: int = 5) -> Joints:
    return run_batches(OnnxRuntimeSession(path, "fp32"), normalise(images()), batch)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_exported_file_passes(exported: Path, references: tuple[Joints, Joints], batch: int) -> None:
    parity = compare(joints_of(exported, batch), *references)
    assert parity.outcome == "pass", parity.reason
    assert min(parity.signal.over_images_mm, parity.signal.over_joints_mm) > 100


@pytest.mark.parametrize(
    "tensor",
    [
        "backbone.downsample_layers.0.0.weight",
        "head.deconv_layers_2.dwconv.weight",
    ],
)
def test_a_weight_changed_by_one_percent_is_found(
    exported: Path, references: tuple[Joints, Joints], tmp_path: Path, tensor: str
) -> None:
    model, defective = onnx.load(exported), tmp_path / "defective.onnx"
    initializer = next(i for i in model.graph.initializer if i.name == tensor)
    array = onnx.numpy_helper.to_array(initializer) * np.float32(1.01)
    initializer.CopyFrom(onnx.numpy_helper.from_array(array, tensor))
    onnx.save(model, defective)
    assert compare(joints_of(defective), *references).outcome == "fail"
    with pytest.raises(CheckFailed, match=re.escape(tensor)):
        check_onnx(defective, deploy(build_network(TINY, alive_weights())))


# ── joints ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "defect",
    [
        pytest.param(lambda joints: joints[:, [1, 0, *range(2, 18)]], id="two joints swapped"),
        pytest.param(lambda joints: joints[:, :, [1, 0, 2]], id="x and y swapped"),
        pytest.param(lambda joints: joints[:, :, [0, 2, 1]], id="y and z swapped"),
        pytest.param(lambda joints: joints + 0.01, id="a shift of 0.01 bins"),
        pytest.param(lambda joints: joints[[1, 0, *range(2, COUNT)]], id="two images swapped"),
        pytest.param(with_nan, id="one NaN"),
        pytest.param(lambda joints: np.where(joints == joints.max(), np.inf, joints), id="one infinity"),
    ],
)
def test_defective_joints_fail(defect: Any) -> None:
    assert compare(TRUTH).outcome == "pass"
    parity = compare(defect(TRUTH))
    assert parity.outcome == "fail"
    with pytest.raises(CheckFailed):
        require_parity(parity.outcome, parity.reason, "the defective file")


def test_a_truth_without_spread_is_inconclusive() -> None:
    for flat in (np.broadcast_to(TRUTH[:1], TRUTH.shape), np.broadcast_to(TRUTH[:, :1], TRUTH.shape)):
        assert compare(flat, flat, flat).outcome == "inconclusive"


def test_a_reference_that_is_not_finite_is_inconclusive() -> None:
    assert compare(TRUTH, fp32=with_nan(TRUTH)).outcome == "inconclusive"
    assert compare(TRUTH, truth=with_nan(TRUTH)).outcome == "inconclusive"


def test_the_error_of_fp32_itself_is_allowed() -> None:
    noise = np.random.default_rng(0).choice([-1.0, 1.0], TRUTH.shape) * 5e-3  # 0.54 mm at 62.5 mm a bin
    near, far = (compare(TRUTH + share * noise, fp32=TRUTH + noise) for share in (1.4, 1.6))
    assert near.floor.max_mm > 0.5
    assert (near.outcome, near.grade, far.outcome, far.grade) == ("pass", "exact", "fail", "near")
    assert "FP32 itself is not exact here" in near.reason
    assert compare(TRUTH + noise).outcome == "fail"


def test_errors_have_the_size_of_the_volume() -> None:
    volume, truth = Volume(heatmap_size=32, depth_dim=64, input_size=256), np.zeros((2, 3, 3))
    candidate = truth.copy()
    candidate[1, 2] = (3, 4, 0)
    error = summarize_errors(truth, candidate, volume)
    assert error.max_mm == pytest.approx(5 * 2000 / 32)
    assert error.max_bins == pytest.approx(5)
    assert error.max_pixels == pytest.approx(5 * 256 / 32)
    assert error.mean_mm == pytest.approx(5 * 2000 / 32 / 6)
    candidate[1, 2] = (0, 0, 1)
    parity = compare_joints(truth, truth, candidate, volume, FP32)
    assert parity.candidate.max_mm == pytest.approx(2000 / 64)
    assert (parity.worst_image, parity.worst_joint) == (1, 2)
    assert parity.per_joint_max_mm == pytest.approx((0, 0, 2000 / 64))


def test_spread_is_the_root_mean_square_over_images_and_over_joints() -> None:
    truth = np.zeros((2, 2, 3))
    truth[1, :, 0] = 2  # both joints move by two bins from image to image
    assert joint_spread(truth, VOLUME).over_images_mm == pytest.approx(62.5)
    assert joint_spread(truth, VOLUME).over_joints_mm == 0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(BadInput, match="cannot be compared"):
        compare(TRUTH[:1])


def test_the_worst_run_decides() -> None:
    good, far, broken = compare(TRUTH), compare(TRUTH + 0.5), compare(with_nan(TRUTH))
    assert worst_run({1: good, 2: far, 5: good})[0] == 2
    assert worst_run({1: far, 2: broken})[0] == 2
    assert broken.as_json()["candidate"]["max_mm"] is None
