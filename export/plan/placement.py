"""The precision of each convolution by rule, before any measurement."""

from dataclasses import dataclass

from export.model.architecture import Architecture


@dataclass(frozen=True)
class PlannedConv:
    """One convolution of the deploy graph."""

    name: str
    """Name of its module; its ONNX node is called ``<name>/Conv``."""
    kind: str
    precision: str
    """fp32, fp16, bf16 or int8."""
    reason: str
    macs: int = 0
    """Multiply-accumulates for one image."""
    input_scale: float | None = None
    """Size of one step of its INT8 input; None if it is not quantized."""
    equalization: float | None = None
    """Exponent of the equalization of its input channels: 0 for none, 1 for equal ranges."""
    error_alone_mm: float | None = None
    """RMS error on calibration images with only its unit in the lower precision; None if not measured."""


INT8_RULE = {
    "stem": (False, "pixels of a large range, three input channels: little to gain, and every layer depends on it"),
    "downsampling": (True, "a dense convolution: INT8 multiplies pay"),
    "depthwise": (False, "one input channel per group: TensorRT wants multiples of four for INT8"),
    "pointwise": (True, "most of the multiplies"),
    "final": (True, "a pointwise convolution; the search keeps it in FP16 if its logits need that"),
}
"""Kind of convolution → (whether it may be quantized, the reason)."""
HALF_REASON = "the requested precision"


def place(architecture: Architecture, precision: str) -> tuple[PlannedConv, ...]:
    """Return every convolution with its precision by rule, in data order.

    Where a block adds its input, the sum and both summands stay in half precision: a depthwise convolution and the next
    sum read it, and neither is quantized. A downsampling that reads it quantizes it for itself.
    """
    convs = []
    for layer in architecture.deployed_layers():
        if layer.kind == "conv":
            kind = conv_kind(layer.name)
            if precision == "int8":
                quantized, reason = INT8_RULE[kind]
                chosen = "int8" if quantized else "fp16"
            else:
                chosen, reason = precision, HALF_REASON
            convs.append(PlannedConv(layer.name, kind, chosen, reason, layer.macs))
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
    """Return the name of a convolution's segment (``export.graph.segments``).

    >>> segment_of("backbone.stages.0.1.dwconv"), segment_of("head.final_layer")
    ('backbone.stages.0.1', 'head.final_layer')
    """
    return conv if conv == "head.final_layer" else conv.rpartition(".")[0]
