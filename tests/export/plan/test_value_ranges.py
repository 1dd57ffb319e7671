"""Ranges are the largest values that the half graph stores."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from export.common.errors import CheckFailed
from export.common.interface import HALVES
from export.graph.precision import HALF, half_graph
from export.graph.ranges import REPORTED, require_range
from export.graph.type_proof import value_types
from export.model.network import ConvNeXtPose, build_network
from export.plan.planned import stored_values
from export.plan.value_ranges import measure_ranges
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY, State, alive_weights
from tests.support.drawings import SHAPES_SEED, drawn_images

COUNT = 10
BLOCK = "backbone.stages.2.0"


def network(weights: State | None = None) -> ConvNeXtPose:
    return build_network(TINY, weights or alive_weights())


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return drawn_images(COUNT, TINY.input_size, SHAPES_SEED)


@pytest.fixture(params=HALVES)
def written(request: pytest.FixtureRequest, typed_files: dict[str, Path]) -> tuple[str, Path]:
    return request.param, typed_files[request.param]


def test_every_stored_half_value_of_the_file_is_measured(written: tuple[str, Path]) -> None:
    precision, path = written
    model = onnx.load(path)
    types, half = value_types(model), {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision]
    computed = [node for node in model.graph.node if node.op_type != "Reshape"]
    stored = [name for node in computed for name in node.output if types[name] == half]
    assert len(list(stored_values(half_graph(network(), HALF[precision])))) == len(stored)


def test_ranges_are_the_largest_values_of_the_network(images: NDArray[np.uint8]) -> None:
    ranges = measure_ranges(network(), "fp16", images, 4)
    assert (ranges.limit, ranges.images) == (65504, COUNT)
    body = half_graph(network(), torch.float32)
    with torch.inference_mode():
        pixels = body.entry(torch.from_numpy(normalise(images)))
        stem = body.backbone.downsample_layers[0](pixels)
        logits = body.head(body.backbone(pixels))
    assert ranges.activations["entry"] == pytest.approx(images.max(), abs=1e-3)
    assert ranges.activations["backbone.downsample_layers.0.0"] == pytest.approx(float(stem.abs().max()), rel=1e-4)
    assert ranges.activations["head.final_layer"] == pytest.approx(float(logits.abs().max()), rel=1e-4)
    assert all(0 < value < 1000 for value in (*ranges.activations.values(), *ranges.weights.values()))
    summary = ranges.summary()
    assert list(summary["activations"]) == sorted(ranges.activations, key=lambda n: -ranges.activations[n])[:REPORTED]
    require_range(summary, "fp16", "fp16")


def too_large_inside_a_block(weights: State) -> None:
    weights[f"{BLOCK}.pwconv1.weight"] *= 2.0**26
    weights[f"{BLOCK}.pwconv1.bias"] *= 2.0**26
    weights[f"{BLOCK}.pwconv2.weight"] *= 2.0**-26


def too_large_a_sum(weights: State) -> None:
    """Let no convolution exceed 50,000, but the residual stream reach 80,000."""
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
def test_overflow_is_refused_by_name(
    images: NDArray[np.uint8], plant: Callable[[State], None], first: str, bf16_can: bool
) -> None:
    weights = alive_weights()
    plant(weights)
    ranges = measure_ranges(network(weights), "fp16", images[:2], 2)
    report = ranges.summary()
    for record in (report, ranges.as_json()):
        json.dumps(record, allow_nan=False)
    with pytest.raises(CheckFailed) as caught:
        require_range(report, "fp16", "fp16")
    assert caught.value.detail.startswith(f"{first}: ")
    assert "bf16" in caught.value.advice
    with pytest.raises(CheckFailed, match="int8 is not possible"):
        require_range(report, "int8", "fp16")
    wide = measure_ranges(network(weights), "bf16", images[:2], 2).summary()
    if bf16_can:
        require_range(wide, "bf16", "bf16")
    else:
        with pytest.raises(CheckFailed, match="not finite"):
            require_range(wide, "bf16", "bf16")
