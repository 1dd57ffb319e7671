"""Scales: of inputs, of weights, and as a file can store them; dead channels are no exception."""

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
from export.model.pose import Volume
from export.model.reference import run_reference
from export.parity.comparison import errors_mm
from export.plan.planned import fake_quantized, simulated
from export.plan.precision_plan import PrecisionPlan
from export.plan.scales import LARGEST, LARGEST_SCALE, SMALLEST_SCALE, stored_scale
from export.plan.search import plan_of, prepare
from export.plan.weights import ORDINARY, output_importance, scale_inputs, weight_scales


@given(st.floats(1e-9, 60000))
def test_a_stored_scale_is_a_normal_half_from_above(scale: float) -> None:
    stored = stored_scale(scale)
    assert stored >= scale
    assert stored == float(np.float16(stored))
    assert stored <= max(scale * (1 + 2**-9), 6.2e-5)


def test_a_scale_beyond_float16_is_none() -> None:
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
    found = fake_quantized(torch.from_numpy(values), scale).numpy()
    steps = found / np.float32(scale)
    assert np.abs(steps - np.round(steps)).max() < 1e-3
    clipped = np.clip(values, -LARGEST * scale, LARGEST * scale)
    assert np.abs(found - clipped).max() <= 0.501 * scale


def test_scales_are_those_of_the_rescaled_inputs(
    network: ConvNeXtPose, plan: PrecisionPlan, calibration: ImageSet
) -> None:
    """Against largest values taken another way."""
    exact = half_graph(network, torch.float32)
    images = calibration.images[:8]
    scaled = {c.name: c for c in scale_inputs(exact, plan_of(network, "int8", calibration).convs, images)}
    seen: dict[str, float] = {}

    def record(name: str, x: torch.Tensor) -> None:
        seen[name] = max(seen.get(name, 0.0), float(x.abs().max()))

    for conv in plan.quantized:
        exact.get_submodule(conv.name).register_forward_pre_hook(
            lambda _module, inputs, name=conv.name: record(name, inputs[0])
        )
    run_reference(exact, images, 4)
    ratios = sorted((scaled[name].input_scale or 0) * LARGEST / largest for name, largest in seen.items())
    # One hidden layer holds rare values 40 times as large as the rest, which are clipped; all others keep theirs.
    assert ratios[0] > 0.02
    assert 0.4 < ratios[1] <= ratios[-1] < 1.25
    assert scaled.keys() == {conv.name for conv in plan.convs}
    assert {name for name, conv in scaled.items() if conv.input_scale is None} == scaled.keys() - seen.keys()


def test_the_equalization_of_a_plan_is_kept(network: ConvNeXtPose, plan: PrecisionPlan, calibration: ImageSet) -> None:
    first = plan.quantized[0].name
    edited = tuple(replace(c, equalization=0.3) if c.name == first else c for c in plan.convs)
    found = scale_inputs(half_graph(network, torch.float32), edited, calibration.images[:4])
    assert {c.name: c.equalization for c in found} == {c.name: c.equalization for c in edited}


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_inputs_of_any_size_come_to_ordinary_size(network: ConvNeXtPose, calibration: ImageSet, factor: float) -> None:
    """The hidden units of a block are scaled, and the convolution that reads them by the inverse."""
    odd, images = copy.deepcopy(network), calibration.images[:4]
    block = odd.backbone.blocks[2]
    with torch.no_grad():
        for module, by in ((block.pwconv1, factor), (block.pwconv2, 1 / factor)):
            assert isinstance(module, nn.Conv2d)
            module.weight.mul_(by)
        assert isinstance(block.pwconv1, nn.Conv2d)
        assert block.pwconv1.bias is not None
        block.pwconv1.bias.mul_(factor)
    plan, candidates = prepare(odd, plan_of(odd, "int8", calibration), images)
    scales = [conv.input_scale for conv in plan.quantized]
    assert all(scale is not None and 0.3 * ORDINARY / LARGEST < scale < 1.8 * ORDINARY / LARGEST for scale in scales)
    moved = errors_mm(
        run_reference(network, images, 4),
        run_reference(candidates.exact, images, 4),
        Volume.from_architecture(odd.architecture),
    )
    assert moved.max() < 1


def with_dead_channels(network: ConvNeXtPose) -> ConvNeXtPose:
    """Return a copy with a hidden channel that no image wakes, an output of zeros, and an input that is always zero."""
    odd = copy.deepcopy(network)
    block, layer = odd.backbone.blocks[1], odd.head.layers[1]
    with torch.no_grad():
        assert isinstance(block.pwconv1, nn.Conv2d)
        assert isinstance(block.pwconv2, nn.Conv2d)
        assert block.pwconv1.bias is not None
        assert block.pwconv2.bias is not None
        block.pwconv1.bias[3] = -1e4
        block.pwconv2.weight[2], block.pwconv2.bias[2], layer.pwconv.weight[4] = 0, 0, 0
        assert isinstance(layer.norm, nn.BatchNorm2d)
        layer.norm.weight[5] = layer.norm.bias[5] = 0
    return odd


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_dead_channels_are_rounded_to_numbers(network: ConvNeXtPose, calibration: ImageSet, precision: str) -> None:
    odd, images = with_dead_channels(network), calibration.images[:4]
    plan, candidates = prepare(odd, plan_of(odd, precision, calibration), images)
    weights = candidates.weights(plan)
    assert all(torch.isfinite(value).all() for value in weights.floats.values())
    for of in weights.int8.values():
        assert (of.scales >= SMALLEST_SCALE).all()
        assert np.isfinite(of.dequantized).all()
    assert np.isfinite(run_reference(simulated(odd, plan, weights), images, 4)).all()
    rescaled = run_reference(candidates.exact, images, 4)
    assert errors_mm(run_reference(odd, images, 4), rescaled, Volume.from_architecture(odd.architecture)).max() < 1
    if precision == "int8":
        assert not weights.int8["backbone.stages.1.0.pwconv2"].values[2].any()


def test_importance_is_the_mean_square_gradient_of_the_joints(network: ConvNeXtPose, calibration: ImageSet) -> None:
    """A channel that nothing reads has none, and hooks are removed."""
    exact = half_graph(with_dead_channels(network), torch.float32)
    dead, images = "backbone.stages.1.0.pwconv1", calibration.images[:4]
    before = run_reference(exact, images, 4)
    found = output_importance(exact, images)
    assert found.keys() == {name for name, module in exact.named_modules() if isinstance(module, nn.Conv2d)}
    assert all(len(of) == exact.get_submodule(name).out_channels for name, of in found.items())
    assert all(torch.isfinite(of).all() and of.max() > 0 for of in found.values())
    assert found[dead][3] == 0
    assert np.array_equal(before, run_reference(exact, images, 4))
