"""Ways to move a crop about its centre, after which a pose must lie where the motion puts it."""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from export.model.pose import Array

TURN_DEGREES = 20.0
"""To either side. By less, poses hardly move; by more, they are unusual. The centre that the demo checkpoint's poses
show on 96 drawn figures has a standard error of 0.20 px at 10 degrees, 0.16 at 20, 0.18 at 30 (mean of x and y)."""


@dataclass(frozen=True, eq=False)
class Motion:
    """One or several maps of the same kind, and what they show."""

    name: str
    matrices: tuple[Array, ...]
    """(2, 2) each: pixels relative to the crop's centre → the same."""
    axes: tuple[int, ...]
    """Which of the centre's coordinates (0 x, 1 y) are told by what moves and what stays."""
    swaps_sides: bool
    """Whether a person's left and right are exchanged."""


def _turn(degrees: float) -> Array:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, -s], [s, c]])


TURNED = Motion("turned", (_turn(TURN_DEGREES), _turn(-TURN_DEGREES)), axes=(0, 1), swaps_sides=False)
MIRRORED = Motion("mirrored", (np.diag([-1.0, 1.0]),), axes=(0,), swaps_sides=True)


def moved(images: NDArray[np.uint8], matrix: Array) -> NDArray[np.uint8]:
    """(N, S, S, 3) → the same, every pixel p moved to c + matrix · (p − c) about the centre c = (S − 1) / 2.

    Outside the crop its border pixels go on: reflected content could show second limbs there, black would be an edge.
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
