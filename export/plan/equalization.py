"""Exact rescaling and centring of a convolution's input channels, before anything is rounded.

A tensor has one INT8 scale. If its channels differ in range by a thousand, most of them keep no digits. With r > 0 for
each channel, ``W·x = (W·r)·(x / r)``. The layers that compute x can take up the division if they are linear in each
channel, or a ReLU (``relu(x / r) = relu(x) / r``). In this network they always can, at no cost at run time
(cross-layer equalization, Nagel et al. 2019):

| convolution | producers of its input | other readers |
|---|---|---|
| pwconv1, the head's pwconv | the depthwise convolution before it (norm folded) | none |
| pwconv2 | pwconv1, through a ReLU | none |
| downsampling | the stage's residual stream: its first convolution and every pwconv2 | every depthwise convolution |
| final layer | the last head layer's pwconv, through a ReLU | none |

An INT8 scale has no zero point, and a channel on one side of zero wastes half of its steps. Directly behind a
depthwise convolution, its bias can take up an offset: ``W·x + b = W·(x - m) + (b + W·m)``. A pointwise convolution has
no padding, so this holds at the border too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.model.network import Block, ConvNeXtPose, HeadLayer

LARGEST_STORED = 32768.0
"""Half of the largest FP16 number: rescaling makes no weight or bias larger."""
DEAD = 1e-3
"""Channels below this share of the largest are not rescaled: their values on other images are unknown."""


@dataclass(frozen=True, eq=False)
class Edge:
    """The input of a quantizable convolution."""

    reader: nn.Conv2d
    """The quantizable convolution."""
    producers: tuple[nn.Conv2d, ...]
    other_readers: tuple[nn.Conv2d, ...] = ()
    """Depthwise convolutions that read the same tensor."""
    can_shift: bool = False
    """True if the producer's bias can take up an offset."""


def edges(network: ConvNeXtPose) -> dict[str, Edge]:
    """Return the edge into each quantizable convolution of a deploy graph, by the convolution's name."""
    result: list[Edge] = []
    downsamplings = [_only_conv(downsampling) for downsampling in network.backbone.downsamplings]
    for index, stage in enumerate(network.backbone.stages):
        blocks = [block for block in stage.children() if isinstance(block, Block)]
        for block in blocks:
            result.append(Edge(as_conv(block.pwconv1), (as_conv(block.dwconv),), can_shift=True))
            result.append(Edge(as_conv(block.pwconv2), (as_conv(block.pwconv1),)))
        if index + 1 < len(downsamplings):
            producers = (downsamplings[index], *(as_conv(block.pwconv2) for block in blocks))
            depthwise = tuple(as_conv(block.dwconv) for block in blocks)
            result.append(Edge(downsamplings[index + 1], producers, depthwise))
    layers: list[HeadLayer] = network.head.layers
    result += [Edge(layer.pwconv, (as_conv(layer.dwconv),), can_shift=True) for layer in layers]
    result.append(Edge(network.head.final_layer, (as_conv(layers[-1].pwconv),)))
    names = {module: name for name, module in network.named_modules()}
    return {names[edge.reader]: edge for edge in result}


@torch.no_grad()
def rescale_input(edge: Edge, factors: Tensor) -> None:
    """Divide the input channels of ``edge.reader`` by (C,) positive ``factors``, in place; joints stay the same."""
    factors = factors.to(edge.reader.weight.dtype)
    edge.reader.weight.mul_(factors[None, :, None, None])
    for producer in edge.producers:
        _divide_outputs(producer, factors)
    for reader in edge.other_readers:
        reader.weight.mul_(factors[:, None, None, None])


@torch.no_grad()
def shift_input(edge: Edge, offsets: Tensor) -> None:
    """Subtract (C,) ``offsets`` from the input channels of ``edge.reader``, in place; joints stay the same."""
    assert edge.can_shift
    offsets = offsets.to(edge.reader.weight.dtype)
    bias_of(edge.reader).add_(edge.reader.weight.flatten(1) @ offsets)
    for producer in edge.producers:
        bias_of(producer).sub_(offsets)


@torch.no_grad()
def rescale_stream(network: ConvNeXtPose, reader: str, factor: Tensor) -> None:
    """Divide a tensor that no quantizable convolution reads by a positive ``factor``, in place.

    Args:
        network: a half graph, in which the last norm is a scale and a shift.
        reader: the segment that reads it: ``backbone.norm`` (the residual stream of the last stage) or a head layer
            behind another.
        factor: () positive.
    """
    module = network.get_submodule(reader)
    if isinstance(module, HeadLayer):
        layers = network.head.layers
        producers, weights = [layers[layers.index(module) - 1].pwconv], [as_conv(module.dwconv).weight]
    else:
        blocks = [block for block in network.backbone.stages[-1].children() if isinstance(block, Block)]
        producers = [_only_conv(network.backbone.downsamplings[-1]), *(as_conv(block.pwconv2) for block in blocks)]
        scale = network.get_submodule(f"{reader}.0").scale
        assert isinstance(scale, Tensor)
        weights = [scale, *(as_conv(block.dwconv).weight for block in blocks)]
    for producer in producers:
        _divide_outputs(producer, factor)
    for weight in weights:
        weight.mul_(factor)


def smallest_factors(producers: tuple[nn.Conv2d, ...]) -> Tensor:
    """Return (C,) smallest factors with which no weight or bias of the producers overflows in FP16."""
    largest = [torch.maximum(conv.weight.abs().flatten(1).amax(dim=1), bias_of(conv).abs()) for conv in producers]
    return torch.stack(largest).amax(dim=0).detach() / LARGEST_STORED


def equalizing_factors(largest: Tensor, exponent: float) -> Tensor:
    """Return ``(largest / max(largest)) ** exponent`` for each channel, and 1 for dead channels.

    Args:
        largest: (C,) largest absolute value of each channel on calibration images.
        exponent: 0 changes nothing, 1 gives all channels the same range.
    """
    share = largest / largest.max().clamp_min(torch.finfo(largest.dtype).tiny)
    return torch.where(share >= DEAD, share, torch.ones_like(share)) ** exponent


def as_conv(module: nn.Module) -> nn.Conv2d:
    """Return ``module`` with the type of a convolution."""
    assert isinstance(module, nn.Conv2d)
    return module


def bias_of(conv: nn.Conv2d) -> Tensor:
    """Return the bias, which every convolution of a deploy graph has."""
    assert conv.bias is not None
    return conv.bias


def _divide_outputs(conv: nn.Conv2d, factors: Tensor) -> None:
    conv.weight.div_(factors.reshape(-1, 1, 1, 1))
    bias_of(conv).div_(factors)


def _only_conv(layers: nn.Sequential) -> nn.Conv2d:
    (conv,) = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    return conv
