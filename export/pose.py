"""Pixels in, bins and millimetres out, as the released training code has it.

There is no division by 255. The released code hands float pixels in 0..255 to a transform that only
rescales integers, and then normalises with the usual ImageNet statistics; the networks were trained on
that, and inputs reach about 1100. A consumer who divides gets wrong poses without any error.
"""

import numpy as np
from numpy.typing import NDArray

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
PIXEL_RANGE = (0, 255)
CUBE_MM = 2000.0
"""Edge of the volume in which joints are found, centred on the root joint."""


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S, 3) RGB pixels in 0..255 → (N, 3, S, S) float32 network input."""
    planes = images.astype(np.float32).transpose(0, 3, 1, 2)
    mean = np.asarray(MEAN, np.float32)[:, None, None]
    std = np.asarray(STD, np.float32)[:, None, None]
    return np.ascontiguousarray((planes - mean) / std)


def bin_mm(heatmap_size: int, depth_dim: int) -> NDArray[np.float64]:
    """(3,) edge lengths of one bin along x, y, z in mm."""
    return CUBE_MM / np.array([heatmap_size, heatmap_size, depth_dim], np.float64)


def bin_pixels(heatmap_size: int, input_size: int) -> float:
    """Edge length of one bin in pixels of the crop."""
    return input_size / heatmap_size
