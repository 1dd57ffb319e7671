"""Names of inputs, outputs, precisions and variants that all artifacts share."""

from export.runtime.session import INPUT as INPUT
from export.runtime.session import OUTPUT as OUTPUT

FP32_CONVOLUTIONS = "fp32_convolutions"
"""Key of an ONNX file's metadata: names of the convolutions that its precision plan keeps in FP32, as JSON."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""All that can be asked for. Tables by precision have these keys and no others; a test compares them."""

HALVES = ("fp16", "bf16")
"""Precisions of half the size, whose range and rounding are measured before anything is written."""

PIXELS = "-pixels"
"""What the name of a variant ends in that takes pixels and normalises them itself: ``fp32-pixels``."""


def variant_of(precision: str, *, takes_pixels: bool) -> str:
    """``("fp16", True)`` → ``"fp16-pixels"``: one precision with one kind of input, which is one ONNX file."""
    return precision + PIXELS * takes_pixels


def precision_of(variant: str) -> str:
    """``"fp16-pixels"`` → ``"fp16"``."""
    return variant.removesuffix(PIXELS)
