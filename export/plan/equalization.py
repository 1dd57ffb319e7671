"""Exact rescaling and centring of a convolution's input channels, before anything is rounded.

A tensor has one int8 scale. Where its channels differ in range by a thousand, most of them have no digits left. With
r > 0 for each channel, ``W·x = (W·r)·(x / r)``, and the division can be moved into what makes x wherever that is linear
in each channel, or a ReLU (``relu(x / r) = relu(x) / r``). In this network it always can, and costs nothing at run time
(cross-layer equalization, Nagel et al. 2019):

| convolution | what makes its input | what else reads it |
|---|---|---|
| pwconv1, the head's pwconv | the depthwise convolution before it (norm folded) | nothing |
| pwconv2 | pwconv1, through a ReLU | nothing |
| downsampling | the whole residual stream of the stage: its first convolution and every pwconv2 | every depthwise one |
| final layer | the last head layer's pwconv, through a ReLU | nothing |

An INT8 scale has no zero point, and a channel that lies to one side of zero wastes half of its digits. Behind a
depthwise convolution nothing stands between: ``W·x + b = W·(x - m) + (b + W·m)``, and the depthwise convolution's bias
takes up m. (A pointwise convolution has no padding, so that this holds at the border too.)
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.model.network import Block, ConvNeXtPose, HeadLayer

LARGEST_STORED = 32768.0
"""Half of what FP16 holds: no rescaling makes a weight or a bias larger."""
DEAD = 1e-3
"""Channels below this share of the largest are left alone: what they do on other images is not known."""


@dataclass(frozen=True, eq=False)
class Edge:
    """A tensor that one quantizable convolution reads."""

    producers: tuple[nn.Conv2d, ...]
    other_readers: tuple[nn.Conv2d, ...] = ()
    """Depthwise convolutions that read the same tensor."""
    can_shift: bool = False
    """True if a constant can be moved from its channels into the bias of the convolution that reads it."""


def edges(network: ConvNeXtPose) -> dict[str, Edge]:
    """Return the edge into each quantizable convolution of a deploy graph, by the convolution's name."""
    names = {module: name for name, module in network.named_modules()}
    found: dict[str, Edge] = {}
    downsamplings = [_only_conv(downsampling) for downsampling in network.backbone.downsamplings]
    for index, stage in enumerate(network.backbone.stages):
        blocks = [block for block in stage.children() if isinstance(block, Block)]
        for block in blocks:
            found[names[block.pwconv1]] = Edge((_conv(block.dwconv),), can_shift=True)
            found[names[block.pwconv2]] = Edge((_conv(block.pwconv1),))
        if index + 1 < len(downsamplings):
            producers = (downsamplings[index], *(_conv(block.pwconv2) for block in blocks))
            readers = tuple(_conv(block.dwconv) for block in blocks)
            found[names[downsamplings[index + 1]]] = Edge(producers, readers)
    layers: list[HeadLayer] = network.head.layers
    for layer in layers:
        found[names[layer.pwconv]] = Edge((_conv(layer.dwconv),), can_shift=True)
    found[names[network.head.final_layer]] = Edge((_conv(layers[-1].pwconv),))
    return found


@torch.no_grad()
def rescale_input(network: ConvNeXtPose, name: str, factors: Tensor) -> None:
    """Divide the input channels of convolution ``name`` by ``factors``, in place, without changing the network.

    Args:
        network: a deploy graph (norms folded).
        name: a key of ``edges``.
        factors: (C,) positive.
    """
    edge, conv = edges(network)[name], network.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    by = factors.to(conv.weight.dtype)
    conv.weight.mul_(by[None, :, None, None])
    for producer in edge.producers:
        assert producer.bias is not None
        producer.weight.div_(by[:, None, None, None])
        producer.bias.div_(by)
    for reader in edge.other_readers:
        reader.weight.mul_(by[:, None, None, None])


@torch.no_grad()
def rescale_stream(network: ConvNeXtPose, reader: str, factor: Tensor) -> None:
    """Divide a tensor that no quantizable convolution reads by ``factor``, in place, without changing the network.

    Args:
        network: a half graph, whose last norm is a scale and a shift.
        reader: the segment that reads it: ``backbone.norm`` (the residual stream of the last stage) or a head layer
            behind another.
        factor: () positive.
    """
    module = network.get_submodule(reader)
    if isinstance(module, HeadLayer):
        layers = network.head.layers
        producers, weights = [layers[layers.index(module) - 1].pwconv], [_conv(module.dwconv).weight]
    else:
        blocks = [block for block in network.backbone.stages[-1].children() if isinstance(block, Block)]
        producers = [_only_conv(network.backbone.downsamplings[-1]), *(block.pwconv2 for block in blocks)]
        scale = network.get_submodule(f"{reader}.0").scale
        assert isinstance(scale, Tensor)
        weights = [scale, *(_conv(block.dwconv).weight for block in blocks)]
    for producer in producers:
        assert producer.bias is not None
        producer.weight.div_(factor)
        producer.bias.div_(factor)
    for weight in weights:
        weight.mul_(factor)


@torch.no_grad()
def shift_input(network: ConvNeXtPose, name: str, offsets: Tensor) -> None:
    """Subtract ``offsets`` from the input channels of pointwise convolution ``name``, in place, at no cost.

    Args:
        network: a deploy graph (norms folded).
        name: a key of ``edges`` whose edge can shift.
        offsets: (C,).
    """
    edge, conv = edges(network)[name], network.get_submodule(name)
    assert edge.can_shift
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    by = offsets.to(conv.weight.dtype)
    conv.bias.add_(conv.weight.flatten(1) @ by)
    for producer in edge.producers:
        assert producer.bias is not None
        producer.bias.sub_(by)


def least_factors(producers: tuple[nn.Conv2d, ...]) -> Tensor:
    """Return (C,) factors below which a weight or bias of what makes a tensor would overflow in FP16."""
    largest = [torch.maximum(conv.weight.abs().flatten(1).amax(dim=1), _bias(conv).abs()) for conv in producers]
    return torch.stack(largest).amax(dim=0) / LARGEST_STORED


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach()


def equalizing_factors(largest: Tensor, exponent: float) -> Tensor:
    """Return ``(largest / max(largest)) ** exponent`` for each channel; 1 leaves a channel as it is.

    Args:
        largest: (C,) largest absolute value of each channel on calibration images.
        exponent: 0 changes nothing, 1 gives all channels the same range.
    """
    share = largest / largest.max().clamp_min(torch.finfo(largest.dtype).tiny)
    return torch.where(share >= DEAD, share, torch.ones_like(share)) ** exponent


def _only_conv(layers: nn.Sequential) -> nn.Conv2d:
    (conv,) = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    return conv


def _conv(module: nn.Module) -> nn.Conv2d:
    assert isinstance(module, nn.Conv2d)
    return module
