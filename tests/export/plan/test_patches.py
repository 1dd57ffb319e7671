"""Convolutions as matrix products of patches and columns."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from export.graph.precision import half_graph
from export.graph.segments import BATCH, in_batches, run_from, segments
from export.plan.patches import as_columns, from_columns, sample_patches, sampled_inputs
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY
from tests.support.drawings import drawn_images
from tests.support.tiny_int8 import tiny_network

CONVS: dict[str, Callable[[], nn.Conv2d]] = {
    "stem": lambda: nn.Conv2d(3, 8, 4, stride=4),
    "depthwise": lambda: nn.Conv2d(6, 6, 7, padding=3, groups=6),
    "depthwise 3x3": lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6),
    "downsampling": lambda: nn.Conv2d(6, 10, 2, stride=2),
    "pointwise": lambda: nn.Conv2d(6, 10, 1),
}


@pytest.fixture(params=CONVS)
def conv(request: pytest.FixtureRequest) -> nn.Conv2d:
    torch.manual_seed(0)
    return CONVS[request.param]().requires_grad_(False)


def test_columns_and_back(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    weight, bias = from_columns(conv, as_columns(conv))
    assert torch.equal(weight, conv.weight.double())
    assert torch.equal(bias, conv.bias.double())


def test_patches_times_weights_are_the_outputs(conv: nn.Conv2d) -> None:
    """At all positions, in any order, and at a few of them."""
    x = torch.randn(3, conv.in_channels, 12, 16, generator=torch.Generator().manual_seed(1))
    outputs = conv(x)
    height, width = outputs.shape[2:]
    for count in (height * width, 5):
        patches = sample_patches(conv, x, count, torch.Generator().manual_seed(2))
        assert patches.shape == (conv.groups, 3 * count, as_columns(conv).shape[2])
        assert patches.dtype == x.dtype
        assert (patches[:, :, -1] == 1).all()
        products = patches.double() @ as_columns(conv).transpose(1, 2)  # (G, N · count, O)
        by_image = products.reshape(conv.groups, 3, count, -1).permute(1, 0, 3, 2).reshape(3, conv.out_channels, count)
        positions = torch.randperm(height * width, generator=torch.Generator().manual_seed(2))[:count]
        expected = outputs.flatten(2)[:, :, positions]
        assert torch.allclose(by_image, expected.double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 1])
def test_inputs_of_all_segments_are_those_of_the_network(count: int) -> None:
    """The order is that of the network, for any number of images; each input leads to the network's joints."""
    network, pixels = half_graph(tiny_network(), torch.float32), drawn_images(count, TINY.input_size, 5)
    with torch.inference_mode():
        joints = in_batches(network, torch.from_numpy(normalise(pixels)))
    said: list[str] = []
    walked = list(sampled_inputs(network, pixels, (), lambda what, _=None: said.append(what)))
    assert [segment.name for segment, _, _ in walked] == [segment.name for segment in segments(network)]
    assert said == [f"activations, {segment.name}" for segment, _, _ in walked]
    for index in (0, 1, 6, len(walked) - 1):
        assert len(walked[index][1]) == count
        assert torch.equal(run_from(network, index, walked[index][1]), joints)


def test_each_convolution_is_sampled_in_its_segment_and_no_hook_stays() -> None:
    network, pixels = half_graph(tiny_network(), torch.float32), drawn_images(BATCH + 1, TINY.input_size, 5)
    for segment, _, samples in sampled_inputs(network, pixels):
        assert set(samples) == set(segment.convs)
        assert {len(patches[0]) % len(pixels) for patches in samples.values()} <= {0}
    assert not any(module._forward_pre_hooks for module in network.modules())
