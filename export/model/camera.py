"""The pinhole camera, and the place of a crop's joints before it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.runtime.pose import Box, Volume, crop_to_image

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: focal lengths and principal point in pixels of the image."""

    fx: float
    fy: float
    cx: float
    cy: float

    def project(self, points_mm: Array) -> Array:
        """Turn (..., 3) camera coordinates in mm into (..., 2) pixels."""
        return points_mm[..., :2] / points_mm[..., 2:] * (self.fx, self.fy) + (self.cx, self.cy)

    def back_project(self, pixels: Array, depth_mm: Array) -> Array:
        """Turn (..., 2) pixels and (...) depths in mm into (..., 3) camera coordinates: X = (x - cx) / f · Z."""
        flat = (pixels - (self.cx, self.cy)) / (self.fx, self.fy) * depth_mm[..., None]
        return np.concatenate([flat, depth_mm[..., None]], axis=-1)


def locate(bins: Array, volume: Volume, box: Box, camera: Camera, root_depth_mm: float) -> Array:
    """Turn (..., J, 3) bins of a crop at ``box`` into camera coordinates in mm, given the root joint's distance."""
    image_px = crop_to_image(volume.crop_pixels(bins), box, volume.input_size)
    return camera.back_project(image_px, volume.relative_depth_mm(bins) + root_depth_mm)
