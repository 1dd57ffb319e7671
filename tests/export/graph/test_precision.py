"""The half graph keeps the function before rounding, and has the planned types."""

import copy

import pytest
import torch
from hypothesis import given, settings

from export.graph.deploy import deploy
from export.graph.precision import HALF, Pixels, half_graph, in_precision, read_pixels, spell_out_last_norm
from export.graph.segments import segments
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network
from export.plan.placement import place, segment_of
from export.runtime.pose import normalise
from tests.export.graph.test_deploy import BINS, architectures, images, lively
from tests.support.checkpoints import TINY, alive_weights
from tests.support.drawings import SHAPES_SEED, drawn_images


def rewritten(reference: ConvNeXtPose) -> ConvNeXtPose:
    """All that is rewritten for half precision, without the casts."""
    network = deploy(reference)
    read_pixels(network)
    spell_out_last_norm(network)
    return network


@settings(max_examples=10)
@given(architecture=architectures)
def test_the_rewritings_are_exact(architecture: Architecture) -> None:
    reference = lively(architecture)
    image = images(architecture)
    assert torch.allclose(reference(image), rewritten(reference)(image), rtol=0, atol=BINS)


@pytest.mark.parametrize("dtype", HALF.values(), ids=HALF.keys())
def test_every_pixel_is_exact_in_half_and_its_normalised_value_is_not(dtype: torch.dtype) -> None:
    pixels = torch.arange(256).reshape(1, 16, 16, 1).expand(1, 16, 16, 3).contiguous()
    image = torch.from_numpy(normalise(pixels.to(torch.uint8).numpy()))
    stored = Pixels()(image).to(dtype).double()
    assert torch.allclose(stored, pixels.permute(0, 3, 1, 2).double(), rtol=0, atol=1e-6)
    assert (image.to(dtype).double() - image.double()).abs().max() > 0.1


CASES: dict[str, set[str]] = {
    "nothing": set(),
    "middle block": {"backbone.stages.2.0"},
    "neighbours": {"backbone.downsample_layers.2", "backbone.stages.2.0", "backbone.stages.2.1"},
    "all with weights": {segment_of(conv.name) for conv in place(TINY, "fp16")},
}


@pytest.mark.parametrize("takes_pixels", [False, True])
@pytest.mark.parametrize("in_fp32", CASES.values(), ids=CASES.keys())
def test_segments_stay_in_fp32_and_all_else_is_half(in_fp32: set[str], takes_pixels: bool) -> None:
    """Every segment reads and gives its own type, and the decode gives FP32."""
    reference = build_network(TINY, alive_weights())
    network = in_precision(reference, "fp16", takes_pixels=takes_pixels, in_fp32=in_fp32)
    exact = half_graph(reference, torch.float32)
    seen: dict[str, torch.dtype] = {}
    for segment in segments(network):
        own = torch.float32 if segment.name in in_fp32 else torch.float16
        assert {weight.dtype for weight in segment.module.parameters()} == {own}
        for name, weight in segment.module.named_parameters(prefix=segment.name):
            assert torch.equal(weight, exact.get_parameter(name).to(own)), name
        segment.module.register_forward_hook(
            lambda _module, _inputs, value, name=segment.name: seen.update({name: value.dtype})
        )
    pixels = drawn_images(1, TINY.input_size, SHAPES_SEED)
    with torch.inference_mode():
        joints = network(torch.from_numpy(pixels if takes_pixels else normalise(pixels)))
    expected = {s.name: torch.float32 if s.name in in_fp32 else torch.float16 for s in segments(network)}
    assert seen == expected
    assert joints.dtype == torch.float32
    assert torch.isfinite(joints).all()


def test_pixels_that_enter_fp32_are_not_rounded_to_half() -> None:
    """Normalised values turn into pixels in FP32; with the stem there, no cast may come between."""
    reference = build_network(TINY, alive_weights())
    network = in_precision(reference, "bf16", in_fp32={"backbone.downsample_layers.0"})
    image = torch.rand(1, 3, TINY.input_size, TINY.input_size)
    assert torch.equal(network.entry(image), Pixels()(image))
    half = in_precision(reference, "bf16").entry(image)
    assert torch.equal(half, Pixels()(image).bfloat16())


def test_weights_are_rounded_once() -> None:
    """Folded in FP64 from the weights as released, not from a fold that was rounded to FP32 before."""
    reference = build_network(TINY, alive_weights())
    exact = dict(rewritten(copy.deepcopy(reference).double()).named_parameters())
    for name, weight in half_graph(reference, torch.float16).named_parameters():
        assert torch.equal(weight, exact[name].to(torch.float16)), name
