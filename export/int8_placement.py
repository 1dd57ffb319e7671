"""Which convolutions may compute in int8, and why; and why nothing else does."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from export.architecture import Architecture
from export.network import Block, ConvNeXtPose, HeadLayer


@dataclass(frozen=True)
class PlacedConv:
    """One convolution of the deploy graph."""

    name: str
    """Of the module, which is the stem of the node's name."""
    kind: str
    quantised: bool
    reason: str
    activation_scale: float | None = None
    """What one step of the int8 input is worth; None before calibration, and where nothing is quantised."""
    drift_alone_mm: float | None = None
    """Mean drift on calibration images when this convolution alone is quantised; None if not measured."""


@dataclass(frozen=True)
class LeftAlone:
    """What is no convolution, and is never quantised."""

    name: str
    kind: str
    reason: str


FP16, FP32 = "stays in FP16: ", "stays in FP32: "
SUM = FP16 + "a depthwise convolution and the next sum read it as it is; a downsampling quantises it for itself"
ACTIVATION = FP16 + "fused with the convolution before it; what reads it in int8 quantises it for itself"
UPSAMPLING = FP16 + "few operations; what reads it is not quantised"
NORM = FP16 + "one factor and one summand a channel, before a depthwise convolution"
ENTRY = FP32 + "the image becomes pixels here, which FP16 holds exactly"
DECODE = FP32 + "a softmax over all bins has terms that FP16 cannot hold"


def place(network: ConvNeXtPose) -> tuple[PlacedConv, ...]:
    """The rule, before any measurement: pointwise and downsampling convolutions in, all else out; in the data's order.

    Where a block adds its input, the sum and both its inputs stay in higher precision: a depthwise convolution and
    the next sum read it, neither of which is quantised, so that rounding it would cost and gain nothing (where a
    downsampling reads it, that quantises it for itself); and a convolution whose result is not requantised can be
    fused with a sum of the same type.
    """
    stem, *downsamplings = network.backbone.downsamplings
    kinds: dict[nn.Module, tuple[str, bool, str]] = {
        _conv(stem): ("stem", False, "pixels of a large range, three input channels: little to gain, all follows it")
    }
    for downsampling in downsamplings:
        kinds[_conv(downsampling)] = "downsampling", True, "a dense convolution: int8 multiplies pay"
    layers: list[Block | HeadLayer] = [*network.backbone.blocks, *network.head.layers]
    for layer in layers:
        kinds[layer.dwconv] = "depthwise", False, "one input channel a group: TensorRT wants multiples of four for int8"
        pointwise = (layer.pwconv1, layer.pwconv2) if isinstance(layer, Block) else (layer.pwconv,)
        for conv in pointwise:
            kinds[conv] = "pointwise", True, "most of the multiplies"
    kinds[network.head.final_layer] = "final", False, "its error is an error of the logits, which decide the joints"
    names = (layer.name for layer in network.architecture.deployed_layers() if layer.kind == "conv")
    return tuple(PlacedConv(name, *kinds[network.get_submodule(name)]) for name in names)


def left_alone(architecture: Architecture) -> tuple[LeftAlone, ...]:
    """All that gives a value and is no convolution, in the order of the data: residual sums and the decode too."""
    return tuple(_left_alone(architecture))


def _left_alone(architecture: Architecture) -> Iterator[LeftAlone]:
    yield LeftAlone("entry", "input", ENTRY)
    for layer in architecture.deployed_layers():
        parent, _, last = layer.name.rpartition(".")
        if layer.kind == "norm":
            yield LeftAlone(layer.name, "norm", NORM)
        elif layer.kind == "upsample":
            yield LeftAlone(layer.name, "upsampling", UPSAMPLING)
        elif last in ("pwconv1", "pwconv"):
            yield LeftAlone(f"{parent}.act", "activation", ACTIVATION)
        elif last == "pwconv2":
            yield LeftAlone(parent, "residual sum", SUM)
    yield LeftAlone("decode", "decode", DECODE)


def _conv(layers: nn.Sequential) -> nn.Conv2d:
    (conv,) = (layer for layer in layers if isinstance(layer, nn.Conv2d))
    return conv
