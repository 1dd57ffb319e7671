"""Motions of a crop about its centre: the pose must move in the same way."""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from export.model.camera import Array

TURN_DEGREES = 20.0
"""Angle to either side. Smaller angles hardly move poses, larger ones make them unusual: the centre of rotation that
the demo checkpoint shows on 96 drawn figures has a standard error of 0.20 px at 10 degrees, 0.16 at 20, 0.18 at 30."""


@dataclass(frozen=True, eq=False)
class Motion:
    """One or several linear maps of the same kind."""

    matrices: tuple[Array, ...]
    """(2, 2) each, on pixels relative to the crop's centre."""
    axes: tuple[int, ...]
    """Coordinates of the centre (0 x, 1 y) that the motion determines."""
    swaps_sides: bool
    """True if the motion exchanges a person's left and right."""


def _turn(degrees: float) -> Array:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, -s], [s, c]])


TURNED = Motion((_turn(TURN_DEGREES), _turn(-TURN_DEGREES)), axes=(0, 1), swaps_sides=False)
MIRRORED = Motion((np.diag([-1.0, 1.0]),), axes=(0,), swaps_sides=True)


def move(images: NDArray[np.uint8], matrix: Array) -> NDArray[np.uint8]:
    """Move every pixel p of (N, S, S, 3) crops to c + matrix · (p − c) about the centre c = (S − 1) / 2.

    Border pixels are repeated outside the crop: a reflection could show second limbs there, and black an edge.
    """
    import cv2

    size = images.shape[1]
    centre = np.full(2, (size - 1) / 2)
    affine = np.column_stack([matrix, centre - matrix @ centre])
    turned = [
        cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image in images
    ]
    return np.stack([np.asarray(image, np.uint8) for image in turned])
