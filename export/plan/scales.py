"""INT8 scales as FP16 graphs store them."""

import math

import numpy as np

LARGEST = 127
"""INT8 values are symmetric, -127 to 127: -128 has no counterpart."""
SMALLEST_SCALE, LARGEST_SCALE = float(np.finfo(np.float16).smallest_normal), float(np.finfo(np.float16).max)
"""Range of a scale in an FP16 graph; subnormal numbers are not used."""


def stored_scale(scale: float) -> float:
    """Return ``scale`` rounded up to a normal FP16 number; infinity if there is none."""
    if not scale <= LARGEST_SCALE:
        return math.inf
    half = np.float16(max(scale, SMALLEST_SCALE))
    return float(half if float(half) >= scale else np.nextafter(half, np.float16(np.inf)))
