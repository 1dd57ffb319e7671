"""Which precision each convolution may have, by rule, before any measurement; and why nothing else is quantized."""

from collections.abc import Iterator
from dataclasses import dataclass

from export.model.architecture import Architecture


@dataclass(frozen=True)
class PlannedConv:
    """One convolution of the deploy graph."""

    name: str
    """Of the module, which is the stem of the node's name."""
    kind: str
    precision: str
    """What it computes in: fp32, fp16, bf16 or int8."""
    reason: str
    macs: int = 0
    """Multiply-accumulates for one image."""
    input_scale: float | None = None
    """Value of one step of its INT8 input; None where it is not quantized."""
    equalization: float | None = None
    """Exponent by which its input channels were rescaled before rounding: 0 not at all, 1 to the same range."""
    error_alone_mm: float | None = None
    """Root mean square error on calibration images, its unit alone in the lower precision; None if not measured."""


@dataclass(frozen=True)
class LeftAlone:
    """A value that is no convolution's, and is never quantized."""

    name: str
    kind: str
    reason: str


SUM = "stays in {half}: depthwise convolutions and the next sum read it as it is"
ACTIVATION = "stays in {half}: fused with the convolution before it"
UPSAMPLING = "stays in {half}: few operations; what reads it is not quantized"
NORM = "stays in {half}: one factor and one summand a channel, before a depthwise convolution"
ENTRY = "stays in FP32: the image becomes pixels here, which half precision holds exactly"
DECODE = "stays in FP32: a softmax over all bins has terms that half precision cannot hold"

INT8_RULE = {
    "stem": (False, "pixels of a large range, three input channels: little to gain, all follows it"),
    "downsampling": (True, "a dense convolution: int8 multiplies pay"),
    "depthwise": (False, "one input channel a group: TensorRT wants multiples of four for int8"),
    "pointwise": (True, "most of the multiplies"),
    "final": (True, "a pointwise convolution; the search keeps it out where its logits need more"),
}
"""Kind of convolution → may it be quantized, and why."""
HALF_REASON = "the precision that was asked for"


def place(architecture: Architecture, precision: str) -> tuple[PlannedConv, ...]:
    """Return the rule for every convolution in the order of the data.

    Where a block adds its input, the sum and both its inputs stay in half precision: a depthwise convolution and the
    next sum read it, neither of which is quantized, so that rounding it would cost and gain nothing (a downsampling
    that reads it quantizes it for itself); and a convolution whose result is not requantized can be fused with a sum
    of the same type.
    """
    convs = []
    for layer in architecture.deployed_layers():
        if layer.kind == "conv":
            kind = conv_kind(layer.name)
            quantized, reason = INT8_RULE[kind]
            own = ("int8" if quantized else "fp16") if precision == "int8" else precision
            convs.append(PlannedConv(layer.name, kind, own, reason if precision == "int8" else HALF_REASON, layer.macs))
    return tuple(convs)


def conv_kind(name: str) -> str:
    """Return stem, downsampling, depthwise, pointwise or final, by the module's name.

    >>> conv_kind("backbone.downsample_layers.0.0"), conv_kind("head.deconv_layers_2.pwconv")
    ('stem', 'pointwise')
    """
    last = name.rpartition(".")[2]
    if last == "final_layer":
        return "final"
    if last == "dwconv":
        return "depthwise"
    if last.startswith("pwconv"):
        return "pointwise"
    return "stem" if name.startswith("backbone.downsample_layers.0.") else "downsampling"


def segment_of(conv: str) -> str:
    """Return the name of the segment (``export.graph.segments``) that a convolution lies in.

    >>> segment_of("backbone.stages.0.1.dwconv"), segment_of("head.final_layer")
    ('backbone.stages.0.1', 'head.final_layer')
    """
    return conv if conv == "head.final_layer" else conv.rpartition(".")[0]


def left_alone(architecture: Architecture, precision: str) -> tuple[LeftAlone, ...]:
    """Return all that gives a value and is no convolution, in the order of the data: sums and the decode too."""
    half = "BF16" if precision == "bf16" else "FP16"
    return tuple(LeftAlone(name, kind, reason.format(half=half)) for name, kind, reason in _others(architecture))


def _others(architecture: Architecture) -> Iterator[tuple[str, str, str]]:
    yield "entry", "input", ENTRY
    for layer in architecture.deployed_layers():
        parent, _, last = layer.name.rpartition(".")
        if layer.kind == "norm":
            yield layer.name, "norm", NORM
        elif layer.kind == "upsample":
            yield layer.name, "upsampling", UPSAMPLING
        elif last in ("pwconv1", "pwconv"):
            yield f"{parent}.act", "activation", ACTIVATION
        elif last == "pwconv2":
            yield parent, "residual sum", SUM
    yield "decode", "decode", DECODE
