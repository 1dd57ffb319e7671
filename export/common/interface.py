"""Names of inputs, outputs, precisions and variants, shared by all artifacts."""

from export.runtime.session import INPUT as INPUT
from export.runtime.session import OUTPUT as OUTPUT

FP32_CONVOLUTIONS = "fp32_convolutions"
"""Metadata key of an ONNX file: a JSON list of the convolutions that its precision plan keeps in FP32."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""All precisions. Tables by precision have exactly these keys; a test compares them."""

HALVES = ("fp16", "bf16")
"""Precisions of half the size; their range and rounding are measured before anything is written."""

PIXELS = "-pixels"
"""Suffix of a variant with the input format uint8: ``fp32-pixels``."""


def variant_of(precision: str, *, takes_pixels: bool) -> str:
    """Return the name of a variant, which is a precision with an input format: one ONNX file."""
    return precision + PIXELS * takes_pixels


def precision_of(variant: str) -> str:
    """Return the precision of a variant: ``"fp16-pixels"`` → ``"fp16"``."""
    return variant.removesuffix(PIXELS)
