"""The images that parity is judged on: never those of training, calibration or evaluation."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OF_EACH = 32
IMAGES_OF_PARITY = f"{OF_EACH} drawn figures and {OF_EACH} drawn shapes"
"""Figures have people's outlines, and the demo checkpoint knows them; shapes are strange to every network."""


def parity_images(size: int) -> "NDArray[np.uint8]":
    """(64, size, size, 3) RGB, the figures first."""
    import cv2
    import numpy as np

    from export.drawings import SHAPES_SEED, drawn_images
    from export.figures import CROP_SIZE, PARITY_SEED, draw_figures

    figures = np.stack([figure.image for figure in draw_figures(OF_EACH, PARITY_SEED)])
    if size != CROP_SIZE:
        resized = [cv2.resize(figure, (size, size), interpolation=cv2.INTER_AREA) for figure in figures]
        figures = np.stack(resized).astype(np.uint8)
    return np.concatenate([figures, drawn_images(OF_EACH, size, SHAPES_SEED)])
