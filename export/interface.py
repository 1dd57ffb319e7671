"""What every exported artefact is called from outside, and which runtimes cannot run which."""

import re

INPUT = "image"
"""float32 (batch, 3, S, S), normalised as ``export.pose`` has it; in a pixel edition uint8 (batch, S, S, 3), RGB."""

OUTPUT = "joints"
"""float32 (batch, joints, 3): x, y, z in bins."""

FP32_CONVOLUTIONS = "fp32_convolutions"
"""Key of an ONNX file's metadata: names of the convolutions that its precision plan keeps in FP32, as JSON."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""All that can be asked for. Tables by precision have these keys and no others; a test compares them."""

HALVES = ("fp16", "bf16")
"""Precisions of half the size, whose range and rounding are measured before anything is written."""

NO_BF16 = "its CPU provider has no BF16 convolution"
"""Why ONNX Runtime runs no BF16 file on a processor."""

RIGHT_INT8 = (1, 30)
"""The first version of ONNX Runtime that computes the INT8 files rightly. A bundle's runtime has the same bound, and
says what was tried."""
WRONG_INT8 = "computes INT8 files wrongly, right since 1.30"

PIXELS = "-pixels"
"""What the name of an edition ends in that takes pixels and normalises them itself: ``fp32-pixels``."""


def int8_is_wrong(onnx_runtime: str) -> bool:
    """Whether this version of ONNX Runtime is older than the first that computes INT8 files rightly.

    >>> int8_is_wrong("1.29.0"), int8_is_wrong("1.30.0rc1")
    (True, False)
    """
    return tuple(int(number) for number in re.findall(r"\d+", onnx_runtime)[:2]) < RIGHT_INT8


def edition_of(precision: str, *, takes_pixels: bool) -> str:
    """``("fp16", True)`` → ``"fp16-pixels"``: one precision with one kind of input, which is one ONNX file."""
    return precision + PIXELS * takes_pixels


def precision_of(edition: str) -> str:
    """``"fp16-pixels"`` → ``"fp16"``."""
    return edition.removesuffix(PIXELS)
