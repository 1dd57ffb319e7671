"""Drawings of random shapes, without people, on which tests compare networks.

The comparison needs joints that move from image to image. A deep network averages noise away, so noise is not enough.
"""

import numpy as np
from numpy.typing import NDArray

SHAPES_SEED = 20_251_019


def drawn_images(count: int, size: int, seed: int) -> NDArray[np.uint8]:
    """Draw (count, size, size, 3) RGB: coloured shapes on a shaded, grainy background.

    An image depends on the seed and its index alone.
    """
    return np.stack([_draw(np.random.default_rng((seed, index)), size) for index in range(count)])


def _draw(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:size, 0:size] / size
    direction = rng.uniform(-1, 1, (2, 3))
    canvas = rng.uniform(40, 215, 3) + 60 * ((x - 0.5)[..., None] * direction[0] + (y - 0.5)[..., None] * direction[1])
    for _ in range(rng.integers(4, 13)):
        centre, angle = rng.uniform(0.1, 0.9, 2), rng.uniform(0, np.pi)
        length, width = rng.uniform(0.05, 0.35), rng.uniform(0.02, 0.12)
        along = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        across = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)
        shape = (along / length) ** 2 + (across / width) ** 2
        inside = shape < 1 if rng.random() < 0.6 else np.maximum(abs(along) / length, abs(across) / width) < 1
        canvas[inside] = rng.uniform(0, 255, 3)
    canvas += rng.normal(0, 6, canvas.shape)
    image: NDArray[np.uint8] = np.clip(canvas, 0, 255).astype(np.uint8)
    return image
