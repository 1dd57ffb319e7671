"""Parity is judged against FP64, refuses to judge what cannot be judged, and sees every planted defect."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.common.interface import HALVES, PRECISIONS
from export.graph.deploy import deploy
from export.graph.onnx_graph import check_onnx, export_onnx
from export.images.drawings import SHAPES_SEED, drawn_images
from export.model.architecture import Architecture
from export.model.network import build_network
from export.model.pose import Volume, normalise
from export.model.reference import run_reference
from export.parity.budgets import GRADES, WITHIN_ROUNDING, Grade, budget_for, status_of
from export.parity.comparison import (
    P99_COUNT,
    Joints,
    Parity,
    best_grade,
    compare_joints,
    joint_spread,
    require_parity,
    simulation_is_within,
    summarize_errors,
    worst_run,
)
from export.parity.sessions import run_batches
from export.runtime.onnx_runtime import OnnxRuntimeSession
from tests.support.checkpoints import TINY, alive_weights, declared, fresh_weights

VOLUME = Volume(TINY.heatmap_size, TINY.depth_dim, TINY.input_size)
FP32 = budget_for("fp32", trained=True)
COUNT = 10


def images(architecture: Architecture = TINY) -> NDArray[np.uint8]:
    return drawn_images(COUNT, architecture.input_size, SHAPES_SEED)


def truth_and_reference(weights: dict[str, torch.Tensor], architecture: Architecture = TINY) -> tuple[Joints, Joints]:
    network = build_network(architecture, weights)
    reference = run_reference(network, images(architecture), batch=5)
    return run_reference(network.double(), images(architecture), batch=5), reference


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "tiny.onnx"
    export_onnx(deploy(build_network(TINY, alive_weights())), path, {})
    return path


@pytest.fixture(scope="module")
def sound() -> tuple[Joints, Joints]:
    return truth_and_reference(alive_weights())


def judged(path: Path, sound: tuple[Joints, Joints], batch: int = 5) -> Parity:
    return compare_joints(
        *sound, run_batches(OnnxRuntimeSession(path, "fp32"), normalise(images()), batch), VOLUME, FP32
    )


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_exported_file_passes(exported: Path, sound: tuple[Joints, Joints], batch: int) -> None:
    parity = judged(exported, sound, batch)
    assert parity.outcome == "pass", parity.reason
    assert parity.signal.over_images_mm > 100
    assert parity.signal.over_joints_mm > 100


def edited(source: Path, target: Path, tensor: str, factor: float) -> Path:
    model = onnx.load(source)
    for initializer in model.graph.initializer:
        if initializer.name == tensor:
            array = onnx.numpy_helper.to_array(initializer) * np.float32(factor)
            initializer.CopyFrom(onnx.numpy_helper.from_array(array, tensor))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize(
    "tensor",
    [
        "backbone.downsample_layers.0.0.weight",
        "backbone.stages.2.1.pwconv2.weight",
        "head.deconv_layers_2.dwconv.weight",
        "head.final_layer.weight",
    ],
)
def test_a_weight_changed_by_one_percent_is_seen(
    exported: Path, sound: tuple[Joints, Joints], tmp_path: Path, tensor: str
) -> None:
    defective = edited(exported, tmp_path / "defective.onnx", tensor, 1.01)
    assert judged(defective, sound).outcome == "fail"
    with pytest.raises(CheckFailed, match=re.escape(tensor)):
        check_onnx(defective, deploy(build_network(TINY, alive_weights())))


def test_a_single_number_changed_by_one_percent_is_seen_in_the_file(exported: Path, tmp_path: Path) -> None:
    """Its drift may be lost in rounding, so the file's weights are compared bit for bit as well."""
    model = onnx.load(exported)
    initializer = next(i for i in model.graph.initializer if i.name == "backbone.stages.0.0.pwconv1.weight")
    array = onnx.numpy_helper.to_array(initializer).copy()
    array.flat[3] *= np.float32(1.01)
    initializer.CopyFrom(onnx.numpy_helper.from_array(array, initializer.name))
    onnx.save(model, tmp_path / "defective.onnx")
    with pytest.raises(CheckFailed, match=re.escape("backbone.stages.0.0.pwconv1.weight")):
        check_onnx(tmp_path / "defective.onnx", deploy(build_network(TINY, alive_weights())))


def with_nan(joints: Joints) -> Joints:
    spoiled = joints.copy()
    spoiled[3, 4, 2] = np.nan
    return spoiled


@pytest.mark.parametrize(
    "defect",
    [
        pytest.param(lambda joints: joints[:, [1, 0, *range(2, 18)]], id="two joints swapped"),
        pytest.param(lambda joints: joints[:, :, [1, 0, 2]], id="x and y exchanged"),
        pytest.param(lambda joints: joints[:, :, [0, 2, 1]], id="y and z exchanged"),
        pytest.param(lambda joints: joints + np.float32(0.01), id="a hundredth of a bin off"),
        pytest.param(lambda joints: joints[[1, 0, *range(2, COUNT)]], id="two images swapped"),
        pytest.param(with_nan, id="one NaN"),
        pytest.param(lambda joints: np.where(joints == joints.max(), np.inf, joints), id="one infinity"),
    ],
)
def test_defective_joints_are_seen(exported: Path, sound: tuple[Joints, Joints], defect: Any) -> None:
    joints = run_batches(OnnxRuntimeSession(exported, "fp32"), normalise(images()), 5)
    assert compare_joints(*sound, joints, VOLUME, FP32).outcome == "pass"
    parity = compare_joints(*sound, defect(joints), VOLUME, FP32)
    assert parity.outcome == "fail"
    with pytest.raises(CheckFailed):
        require_parity(parity.outcome, parity.reason, "the defective file")


def test_the_wrong_upsampling_count_is_seen(sound: tuple[Joints, Joints], tmp_path: Path) -> None:
    """It fits the same weights, and its map is larger, so its joints mean something else."""
    wrong = Architecture(TINY.depths, TINY.dims, TINY.head_channels, TINY.head_kernels, 18, 32, upsamplings=3)
    export_onnx(deploy(build_network(wrong, alive_weights())), tmp_path / "wrong.onnx", {})
    assert judged(tmp_path / "wrong.onnx", sound).outcome == "fail"


@pytest.mark.parametrize("as_convnext", [True, False], ids=["ConvNeXt's initialisation", "torch's initialisation"])
def test_freshly_initialised_weights_are_refused_as_inconclusive(as_convnext: bool) -> None:
    """Their joints are all but the same for every image, and any defect agrees with that."""
    architecture = declared("XS-atto")
    truth, reference = truth_and_reference(fresh_weights(architecture, as_convnext=as_convnext), architecture)
    if as_convnext:
        assert np.ptp(truth, axis=0).max() < 1e-4
    parity = compare_joints(truth, reference, reference, VOLUME, FP32)
    assert parity.outcome == "inconclusive"
    with pytest.raises(Inconclusive) as error:
        require_parity(parity.outcome, parity.reason, "fresh.onnx")
    assert error.value.exit_code == 3


def test_same_joints_for_all_images_or_one_place_for_all_joints_is_no_signal() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0, 31, (COUNT, 18, 3))
    for flat in (np.broadcast_to(spread[:1], spread.shape), np.broadcast_to(spread[:, :1], spread.shape)):
        assert compare_joints(flat, flat, flat, VOLUME, FP32).outcome == "inconclusive"
    assert compare_joints(spread, spread, spread, VOLUME, FP32).outcome == "pass"


def test_a_reference_that_is_not_finite_is_inconclusive() -> None:
    spread = np.random.default_rng(0).uniform(0, 31, (COUNT, 18, 3))
    assert compare_joints(spread, with_nan(spread), spread, VOLUME, FP32).outcome == "inconclusive"
    assert compare_joints(with_nan(spread), spread, spread, VOLUME, FP32).outcome == "inconclusive"


def test_nothing_is_refused_for_an_error_that_fp32_has_itself() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 31, (COUNT, 18, 3))
    noise = rng.choice([-1.0, 1.0], truth.shape) * 5e-3  # 0.54 mm at 62.5 mm a bin
    assert summarize_errors(truth, truth + noise, VOLUME).max_mm > 0.5
    near, far = (compare_joints(truth, truth + noise, truth + share * noise, VOLUME, FP32) for share in (1.4, 1.6))
    assert (near.outcome, near.grade, far.outcome, far.grade) == ("pass", "exact", "fail", "near")
    assert "FP32 itself is not exact here" in near.reason
    assert compare_joints(truth, truth, truth + noise, VOLUME, FP32).outcome == "fail"


@pytest.mark.parametrize(("images", "farther", "outcome"), [(36, 3, "pass"), (37, 3, "fail"), (37, 1.9, "pass")])
def test_p99s_are_compared_only_where_there_are_enough_distances_for_one(
    images: int, farther: float, outcome: str
) -> None:
    """Two hundredths of the joints lie farther away, which moves the mean by 4 % at most."""
    truth = np.random.default_rng(0).uniform(0, 31, (images, 18, 3))
    noise = np.full(truth.shape, 2e-4)
    tail = noise * np.where(np.arange(images * 18).reshape(images, 18, 1) % 50 == 0, farther, 1)
    assert (truth[..., 0].size >= P99_COUNT) == (images == 37)
    parity = compare_joints(truth, truth, truth + tail, VOLUME, budget_for("fp16", trained=True), truth + noise)
    assert (parity.outcome, "p99" in parity.reason) == (outcome, outcome == "fail")


@pytest.mark.parametrize(("bins", "holds"), [(0.84, True), (0.86, False), (np.nan, False)])
def test_a_simulation_leaves_room_for_what_a_runtime_adds(bins: float, holds: bool) -> None:
    truth = np.random.default_rng(0).uniform(0, 31, (COUNT, 18, 3))
    moved = truth + np.array([bins, 0, 0])
    for grade in (Grade("tight", mean_mm=62.5, p99_mm=1e9), Grade("tight", mean_mm=1e9, p99_mm=62.5)):
        assert simulation_is_within(truth, moved, VOLUME, grade) == holds


@pytest.mark.parametrize("statistic", ["mean_mm", "p99_mm", "max_mm"])
def test_every_limit_of_a_grade_is_asked_for(statistic: str) -> None:
    grade = replace(Grade("tight"), **{statistic: 1.0})  # type: ignore[arg-type]
    errors = {"mean_mm": 0.5, "p99_mm": 0.5, "max_mm": 0.5}
    assert grade.holds(**errors)
    for value in (1.5, np.nan):
        assert not grade.holds(**(errors | {statistic: value}))


def test_the_scale_is_ordered_and_a_tail_alone_lowers_the_grade() -> None:
    truth = np.random.default_rng(0).uniform(0, 31, (50, 18, 3))
    moved = np.zeros_like(truth)
    for shift_mm, grade in ((0.05, "exact"), (0.9, "near"), (4.0, "usable"), (6.0, "unusable")):
        moved[..., 0] = shift_mm / 62.5
        error = summarize_errors(truth, truth + moved, VOLUME)
        assert best_grade(error, summarize_errors(truth, truth, VOLUME)) == grade
    moved[..., 0] = np.where(np.arange(900).reshape(50, 18) % 50 == 0, 30, 0.1) / 62.5  # mean 0.7 mm, p99 30 mm
    error = summarize_errors(truth, truth + moved, VOLUME)
    assert (error.mean_mm < 1, best_grade(error, summarize_errors(truth, truth, VOLUME))) == (True, "unusable")
    assert compare_joints(truth, truth, truth + moved, VOLUME, budget_for("int8", trained=True)).outcome == "fail"
    assert list(GRADES) == ["exact", "near", "usable"]


@pytest.mark.parametrize("precision", HALVES)
def test_a_half_precision_has_a_budget_only_where_weights_are_trained(precision: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 31, (COUNT, 18, 3))
    simulation = truth + rng.normal(0, 0.06, truth.shape)  # rounding alone costs 6 mm
    trained, stand_in = (budget_for(precision, trained=trained) for trained in (True, False))
    assert (trained.grade, stand_in.grade) == ({"fp16": "near", "bf16": "usable"}[precision], None)
    assert compare_joints(truth, truth, simulation, VOLUME, trained, simulation).outcome == "fail"
    assert compare_joints(truth, truth, simulation, VOLUME, stand_in, simulation).outcome == "pass"
    far = truth + 1.6 * (simulation - truth)
    assert compare_joints(truth, truth, far, VOLUME, stand_in, simulation).outcome == "fail"


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_the_grade_that_the_user_requires_is_asked_of_every_precision(precision: str) -> None:
    truth = np.random.default_rng(0).uniform(0, 31, (COUNT, 18, 3))
    moved = truth + np.array([2 / 62.5, 0, 0])  # 2 mm: usable
    for require_grade, outcome in (("usable", "pass"), ("near", "fail"), ("exact", "fail")):
        budget = budget_for(precision, trained=True, require=require_grade)
        assert compare_joints(truth, truth, moved, VOLUME, budget, moved).outcome == outcome
    assert budget_for("fp32", trained=True, require="usable") == FP32


def test_where_no_limit_in_mm_was_asked_nothing_is_called_a_pass() -> None:
    """1.14 m beside a reference that is as far away is explained, and near to nothing."""
    truth = np.random.default_rng(0).uniform(0, 31, (COUNT, 18, 3))
    far = truth + 10
    for precision in PRECISIONS:
        trained, stand_in = (budget_for(precision, trained=trained) for trained in (True, False))
        assert {status_of(outcome, trained) for outcome in ("pass", "fail")} == {"pass", "fail"}
        found = compare_joints(truth, truth, far, VOLUME, stand_in, far)
        expected = "fail" if precision == "fp32" else WITHIN_ROUNDING
        assert status_of(found.outcome, stand_in) == expected
        assert "pass" not in expected
        assert status_of("fail", stand_in) == "fail"


def test_distances_are_those_of_the_cube() -> None:
    truth = np.zeros((2, 3, 3))
    candidate = truth.copy()
    candidate[1, 2] = (3, 4, 0)
    of = summarize_errors(truth, candidate, Volume(heatmap_size=32, depth_dim=64, input_size=256))
    assert of.max_mm == pytest.approx(5 * 2000 / 32)
    assert of.max_bins == pytest.approx(5)
    assert of.max_pixels == pytest.approx(5 * 256 / 32)
    assert of.mean_mm == pytest.approx(5 * 2000 / 32 / 6)
    candidate[1, 2] = (0, 0, 1)
    assert summarize_errors(truth, candidate, Volume(32, 64, 256)).max_mm == pytest.approx(2000 / 64)
    parity = compare_joints(truth, truth, candidate, Volume(32, 64, 256), FP32)
    assert (parity.worst_image, parity.worst_joint) == (1, 2)
    assert parity.per_joint_max_mm == pytest.approx((0, 0, 2000 / 64))


def test_signal_is_the_root_mean_square_over_images_and_over_joints() -> None:
    truth = np.zeros((2, 2, 3))
    truth[1, :, 0] = 2  # both joints move by two bins from image to image
    assert joint_spread(truth, VOLUME).over_images_mm == pytest.approx(62.5)
    assert joint_spread(truth, VOLUME).over_joints_mm == 0


def test_shapes_that_do_not_match_are_refused() -> None:
    truth = np.zeros((2, 18, 3))
    with pytest.raises(BadInput, match="cannot be compared"):
        compare_joints(truth, truth, truth[:1], VOLUME, FP32)


def test_the_worst_batch_size_speaks_for_the_file() -> None:
    truth = np.random.default_rng(0).uniform(0, 31, (COUNT, 18, 3))
    good, far = (compare_joints(truth, truth, truth + d, VOLUME, FP32) for d in (0, 0.5))
    spoiled = compare_joints(truth, truth, with_nan(truth), VOLUME, FP32)
    assert worst_run({1: good, 2: far, 5: good})[0] == 2
    assert worst_run({1: far, 2: spoiled})[0] == 2
    assert spoiled.as_json()["candidate"]["max_mm"] is None
