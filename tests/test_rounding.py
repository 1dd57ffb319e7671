"""Ranges are those of the values that the half graph stores, and simulated rounding is what half arithmetic does."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from export.drawings import SHAPES_SEED, drawn_images
from export.errors import CheckFailed
from export.interface import HALVES, INPUT
from export.network import ConvNeXtPose, build_network
from export.parity import Distance, budget_for, distance, judge
from export.pose import Volume, normalise
from export.precision import HALF, half_graph, in_precision
from export.ranges import REPORTED, Ranges, require_range
from export.reference import run_reference
from export.rounding import graph_values, measure_ranges, rounded_network
from export.runners import RUNNERS, OnnxRuntime, OpenVino, Rounded, precision_hint, run_batches
from export.simulation import with_rounding
from export.typed import value_types
from tests.checkpoints import TINY, State, alive_weights

VOLUME = Volume(TINY.heatmap_size, TINY.depth_dim, TINY.input_size)
COUNT = 10
BLOCK = "backbone.stages.2.0"


def network(weights: State | None = None) -> ConvNeXtPose:
    return build_network(TINY, weights or alive_weights())


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return drawn_images(COUNT, TINY.input_size, SHAPES_SEED)


@pytest.fixture(scope="module")
def truth(images: NDArray[np.uint8]) -> NDArray[np.floating]:
    return run_reference(network().double(), images, 5)


@pytest.fixture(params=HALVES)
def written(request: pytest.FixtureRequest, typed_files: dict[str, Path]) -> tuple[str, Path]:
    return request.param, typed_files[request.param]


# ── ranges ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_value_that_the_half_file_stores_is_walked_over(written: tuple[str, Path]) -> None:
    precision, path = written
    model = onnx.load(path)
    types, half = value_types(model), {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision]
    stored = [name for node in model.graph.node for name in node.output if types[name] == half]
    assert len(list(graph_values(half_graph(network(), HALF[precision])))) == len(stored)


def test_ranges_are_those_of_the_network(images: NDArray[np.uint8]) -> None:
    ranges = measure_ranges(network(), "fp16", images, 4)
    assert (ranges.limit, ranges.images) == (65504, COUNT)
    body = half_graph(network(), torch.float32)
    with torch.inference_mode():
        pixels = body.entry(torch.from_numpy(normalise(images)))
        stem = body.backbone.downsample_layers[0](pixels)
        logits = body.head(body.backbone(pixels))
    assert ranges.activations["entry.0"] == pytest.approx(images.max(), abs=1e-3)
    assert ranges.activations["backbone.downsample_layers.0.0"] == pytest.approx(float(stem.abs().max()), rel=1e-4)
    assert ranges.activations["head.final_layer"] == pytest.approx(float(logits.abs().max()), rel=1e-4)
    assert all(0 < value < 1000 for value in (*ranges.activations.values(), *ranges.weights.values()))
    shown = ranges.summary()
    assert list(shown["activations"]) == sorted(ranges.activations, key=lambda n: -ranges.activations[n])[:REPORTED]
    require_range(shown, "fp16", "fp16")


def test_every_layer_is_reported_with_its_activation_and_its_weight(images: NDArray[np.uint8]) -> None:
    body = half_graph(network(), torch.float32)
    ranges = measure_ranges(network(), "fp16", images[:2], 2)
    rows = {row["layer"]: row for row in ranges.as_json()["layers"]}
    assert rows.keys() == {name for name, _ in graph_values(body)}
    order = [list(rows).index(name) for name in ("entry.0", f"{BLOCK}.pwconv2", BLOCK, "head.final_layer")]
    assert order == sorted(order)
    for name, module in graph_values(body):
        parameters = [float(p.abs().max()) for p in module.parameters(recurse=False)]
        assert rows[name]["activation"] == ranges.activations[name]
        assert rows[name].get("weight") == (pytest.approx(max(parameters)) if parameters else None)


def too_large_inside_a_block(weights: State) -> None:
    weights[f"{BLOCK}.pwconv1.weight"] *= 2.0**26
    weights[f"{BLOCK}.pwconv1.bias"] *= 2.0**26
    weights[f"{BLOCK}.pwconv2.weight"] *= 2.0**-26


def too_large_a_sum(weights: State) -> None:
    """No convolution gives more than 50,000; the stream that they are added to holds 80,000."""
    for block in (BLOCK, "backbone.stages.2.1"):
        weights[f"{block}.pwconv2.bias"][3] += 40_000
    weights["backbone.stages.2.1.dwconv.weight"][3] = 0
    for name in ("running_mean", "running_var"):
        weights[f"backbone.downsample_layers.3.0.{name}"][3] = 80_000


def too_large_a_weight(weights: State) -> None:
    weights["head.final_layer.bias"][7] = 70_000


def not_a_number(weights: State) -> None:
    weights["head.deconv_layers_2.pwconv.bias"][0] = float("nan")


@pytest.mark.parametrize(
    ("plant", "first", "bf16_can"),
    [
        (too_large_inside_a_block, f"{BLOCK}.pwconv1", True),
        (too_large_a_sum, "backbone.stages.2.1", True),
        (too_large_a_weight, "head.final_layer", True),
        (not_a_number, "head.deconv_layers_2.pwconv", False),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    images: NDArray[np.uint8], plant: Callable[[State], None], first: str, bf16_can: bool
) -> None:
    weights = alive_weights()
    plant(weights)
    found = measure_ranges(network(weights), "fp16", images[:2], 2)
    report = found.summary()
    for whole in (report, found.as_json()):
        json.dumps(whole, allow_nan=False)
    with pytest.raises(CheckFailed) as caught:
        require_range(report, "fp16", "fp16")
    assert caught.value.seen.startswith(f"{first}: ")
    assert "bf16" in caught.value.do
    with pytest.raises(CheckFailed, match="int8 cannot be had: fp16, which its graph has around"):
        require_range(report, "int8", "fp16")
    wide = measure_ranges(network(weights), "bf16", images[:2], 2).summary()
    if bf16_can:
        require_range(wide, "bf16", "bf16")
    else:
        with pytest.raises(CheckFailed, match="not finite"):
            require_range(wide, "bf16", "bf16")


def test_a_planted_overflow_really_breaks_the_network(images: NDArray[np.uint8]) -> None:
    """What the report refuses would have given no joints."""
    weights = alive_weights()
    too_large_inside_a_block(weights)
    assert np.isfinite(run_reference(network(weights), images[:2], 2)).all()
    assert not np.isfinite(run_reference(rounded_network(network(weights), "fp16"), images[:2], 2)).all()
    assert np.isfinite(run_reference(rounded_network(network(weights), "bf16"), images[:2], 2)).all()


def test_many_that_do_not_fit_are_counted() -> None:
    ranges = Ranges(65504, 1, {f"layer{i}": 1e5 for i in range(5)}, {"weight": float("inf")}).summary()
    with pytest.raises(CheckFailed, match=r"layer0: 100000, layer1: 100000, layer2: 100000 and 3 more"):
        require_range(ranges, "fp16", "fp16")


# ── rounding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def near(seen: Distance, expected: Distance) -> bool:
    return 0.7 < seen.mean_mm / expected.mean_mm < 1.4


def test_rounding_simulated_is_what_half_arithmetic_does(
    written: tuple[str, Path], images: NDArray[np.uint8], truth: NDArray[np.floating]
) -> None:
    """PyTorch's own half convolutions, the rounded network, and the file with every value rounded: as far off."""
    precision, path = written
    with torch.inference_mode():
        real = in_precision(network(), precision)(torch.from_numpy(normalise(images))).numpy()
    expected = distance(truth, real, VOLUME)
    rounded = distance(truth, run_reference(rounded_network(network(), precision), images, 5), VOLUME)
    simulated = distance(truth, run_batches(Rounded(path), normalise(images), 5), VOLUME)
    assert near(rounded, expected), (rounded, expected)
    assert near(simulated, expected), (simulated, expected)
    unrounded = distance(truth, run_reference(half_graph(network(), torch.float32), images, 5), VOLUME)
    assert unrounded.mean_mm < expected.mean_mm / 100


def test_every_half_value_of_a_simulation_is_rounded(written: tuple[str, Path], images: NDArray[np.uint8]) -> None:
    """ONNX Runtime must not take a cast there and back for nothing."""
    precision, path = written
    model = onnx.load(path)
    kept = [node.output[0] for node in model.graph.node if node.op_type in ("Conv", "Relu", "Add", "Resize")][1:]
    simulated = with_rounding(model)
    simulated.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(simulated.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = [torch.from_numpy(value) for value in session.run(kept, {INPUT: normalise(images[:1])})]
    assert {value.dtype for value in values} == {torch.float32}
    assert all(torch.equal(value.to(HALF[precision]).float(), value) for value in values)


def test_a_half_file_may_not_be_farther_off_than_rounding_explains(
    written: tuple[str, Path], images: NDArray[np.uint8], truth: NDArray[np.floating]
) -> None:
    precision, path = written
    reference = run_reference(rounded_network(network(), precision), images, 5)
    budget = budget_for(precision, trained=False)
    joints = run_batches(Rounded(path), normalise(images), 5)
    assert judge(truth, reference, joints, VOLUME, budget).outcome == "pass"
    off = distance(truth, reference, VOLUME).mean_mm
    defective = joints + np.float32(2 * off / VOLUME.bin_mm[0])
    assert judge(truth, reference, defective, VOLUME, budget).outcome == "fail"


# ── runners ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_runner_says_what_it_computed_in(
    written: tuple[str, Path], images: NDArray[np.uint8], truth: NDArray[np.floating]
) -> None:
    precision, path = written
    inputs = normalise(images)
    for load in RUNNERS[precision]:
        runner = load(path)
        assert "CPU" in runner.describe()
        one_by_one, together = run_batches(runner, inputs, 1), run_batches(runner, inputs, 4)
        assert one_by_one.shape == together.shape == truth.shape
        assert one_by_one.dtype == np.float32
    said = RUNNERS[precision][0](path).describe()
    if precision == "bf16":
        import openvino

        can = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        assert f"26 convolutions in {'bfloat16' if can else 'float32'}, decode in float32" in said
    else:
        assert re.search(r"CPU; \d\d convolutions in float", said)


def test_onnx_runtime_and_openvino_agree_on_fp32(
    images: NDArray[np.uint8], truth: NDArray[np.floating], typed_files: dict[str, Path]
) -> None:
    for load in (OnnxRuntime, OpenVino):
        runner = load(typed_files["fp32"])
        assert distance(truth, run_batches(runner, normalise(images), 5), VOLUME).max_mm < 0.1, runner.describe()
        assert "float32" in runner.describe()


@pytest.mark.parametrize(("capabilities", "hint"), [(["FP32", "BF16"], "bf16"), (["FP32", "INT8"], "f32")])
def test_openvino_is_never_left_to_choose_a_precision(capabilities: list[str], hint: str) -> None:
    assert precision_hint(capabilities, half=True) == hint
    assert precision_hint(capabilities, half=False) == "f32"
