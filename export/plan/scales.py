"""Numbers that INT8 inputs and weights are scaled by, as FP16 graphs store them."""

import math

import numpy as np

LARGEST = 127
"""int8 without a zero point: -127 to 127 (-128 has no counterpart)."""
SMALLEST_SCALE, LARGEST_SCALE = float(np.finfo(np.float16).smallest_normal), float(np.finfo(np.float16).max)
"""Graphs in half precision store their scales in float16; its subnormal numbers are left alone."""


def stored_scale(scale: float) -> float:
    """Return the next value from ``scale`` upwards that FP16 has as a normal number; infinite if it has none."""
    if not scale <= LARGEST_SCALE:
        return math.inf
    half = np.float16(max(scale, SMALLEST_SCALE))
    return float(half if float(half) >= scale else np.nextafter(half, np.float16(np.inf)))
