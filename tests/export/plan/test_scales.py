"""Scales of inputs and weights, and their FP16 values, also of dead channels."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import nn

from export.graph.precision import half_graph
from export.images.image_set import ImageSet
from export.model.network import ConvNeXtPose
from export.model.reference import run_reference
from export.plan.equalization import as_conv, bias_of
from export.plan.input_scaling import ORDINARY, output_importance, scale_inputs
from export.plan.planned import fake_quantize, simulated_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.scales import LARGEST, LARGEST_SCALE, SMALLEST_SCALE, stored_scale
from export.plan.search import initial_plan
from export.plan.weights import prepare, weight_scales
from tests.support.tiny_int8 import joint_errors


@given(st.floats(1e-9, 60000))
def test_a_stored_scale_is_a_normal_half_from_above(scale: float) -> None:
    stored = stored_scale(scale)
    assert stored >= scale
    assert stored == float(np.float16(stored))
    assert stored <= max(scale * (1 + 2**-9), 6.2e-5)


def test_a_scale_beyond_float16_is_infinite() -> None:
    assert stored_scale(LARGEST_SCALE) == LARGEST_SCALE
    for beyond in (65505.0, 1e6, float("inf"), float("nan")):
        assert stored_scale(beyond) == float("inf")


@given(arrays(np.float64, (4, 3, 1, 1), elements=st.floats(-100, 100)))
def test_weights_are_never_clipped(weights: NDArray[np.float64]) -> None:
    scales = weight_scales(torch.from_numpy(weights)).numpy()
    assert (scales >= SMALLEST_SCALE).all()
    assert (scales == scales.astype(np.float16)).all()
    assert (np.abs(weights / scales[:, None, None, None]) <= LARGEST).all()


@given(arrays(np.float32, (64,), elements=st.floats(-300, 300, width=32)), st.floats(0.01, 2))
def test_inputs_are_rounded_to_the_nearest_step_and_clipped(values: NDArray[np.float32], scale: float) -> None:
    rounded = fake_quantize(torch.from_numpy(values), scale).numpy()
    steps = rounded / np.float32(scale)
    assert np.abs(steps - np.round(steps)).max() < 1e-3
    clipped = np.clip(values, -LARGEST * scale, LARGEST * scale)
    assert np.abs(rounded - clipped).max() <= 0.501 * scale


def test_the_equalization_of_a_plan_is_kept(network: ConvNeXtPose, plan: PrecisionPlan, calibration: ImageSet) -> None:
    first = plan.quantized[0].name
    edited = tuple(replace(c, equalization=0.3) if c.name == first else c for c in plan.convs)
    scaled = scale_inputs(half_graph(network, torch.float32), edited, calibration.images[:4])
    assert {c.name: c.equalization for c in scaled} == {c.name: c.equalization for c in edited}


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_inputs_of_any_size_come_to_ordinary_size(network: ConvNeXtPose, calibration: ImageSet, factor: float) -> None:
    """Scale the hidden units of a block, and the convolution that reads them by the inverse."""
    odd, images = copy.deepcopy(network), calibration.images[:4]
    block = odd.backbone.blocks[2]
    with torch.no_grad():
        pwconv1, pwconv2 = as_conv(block.pwconv1), as_conv(block.pwconv2)
        pwconv1.weight.mul_(factor)
        bias_of(pwconv1).mul_(factor)
        pwconv2.weight.div_(factor)
    plan, candidates = prepare(odd, initial_plan(odd, "int8", calibration), images)
    scales = [conv.input_scale for conv in plan.quantized]
    assert all(scale is not None and 0.3 * ORDINARY / LARGEST < scale < 1.8 * ORDINARY / LARGEST for scale in scales)
    before, after = run_reference(network, images, 4), run_reference(candidates.exact, images, 4)
    assert joint_errors(odd, before, after).max() < 1


def with_dead_channels(network: ConvNeXtPose) -> ConvNeXtPose:
    """Return a copy with a hidden channel, an output and an input that are always zero."""
    odd = copy.deepcopy(network)
    block, layer = odd.backbone.blocks[1], odd.head.layers[1]
    with torch.no_grad():
        pwconv1, pwconv2 = as_conv(block.pwconv1), as_conv(block.pwconv2)
        bias_of(pwconv1)[3] = -1e4
        pwconv2.weight[2], bias_of(pwconv2)[2], layer.pwconv.weight[4] = 0, 0, 0
        assert isinstance(layer.norm, nn.BatchNorm2d)
        layer.norm.weight[5] = layer.norm.bias[5] = 0
    return odd


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_dead_channels_keep_finite_weights(network: ConvNeXtPose, calibration: ImageSet, precision: str) -> None:
    odd, images = with_dead_channels(network), calibration.images[:4]
    plan, candidates = prepare(odd, initial_plan(odd, precision, calibration), images)
    weights = candidates.weights(plan)
    assert all(torch.isfinite(value).all() for value in weights.floats.values())
    for int8 in weights.int8.values():
        assert (int8.scales >= SMALLEST_SCALE).all()
        assert np.isfinite(int8.dequantized).all()
    assert np.isfinite(run_reference(simulated_graph(odd, plan, weights), images, 4)).all()
    rescaled = run_reference(candidates.exact, images, 4)
    assert joint_errors(odd, run_reference(odd, images, 4), rescaled).max() < 1
    if precision == "int8":
        assert not weights.int8["backbone.stages.1.0.pwconv2"].values[2].any()


def test_importance_is_the_mean_square_gradient_of_the_joints(network: ConvNeXtPose, calibration: ImageSet) -> None:
    """A dead channel has none, and hooks are removed."""
    exact = half_graph(with_dead_channels(network), torch.float32)
    dead, images = "backbone.stages.1.0.pwconv1", calibration.images[:4]
    before = run_reference(exact, images, 4)
    importance = output_importance(exact, images)
    assert importance.keys() == {name for name, module in exact.named_modules() if isinstance(module, nn.Conv2d)}
    assert all(len(values) == exact.get_submodule(name).out_channels for name, values in importance.items())
    assert all(torch.isfinite(values).all() and values.max() > 0 for values in importance.values())
    assert importance[dead][3] == 0
    assert np.array_equal(before, run_reference(exact, images, 4))
