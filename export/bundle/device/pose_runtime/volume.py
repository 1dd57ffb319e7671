"""What the network's bins mean: pixels of the crop, and millimetres of a cube."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Volume(NamedTuple):
    """The volume of a network in bins, pixels and mm."""

    heatmap_size: int
    """Edge of the map in bins."""
    depth_dim: int
    """Bins in depth."""
    input_size: int
    """Edge of the crop in pixels."""
    cube_mm: float
    """Edge of the cube that the volume stands for."""

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Volume:
        """The volume that a bundle's manifest describes."""
        return cls(**manifest["volume"])

    @property
    def bin_mm(self) -> NDArray[np.float64]:
        """(3,) edge lengths of one bin along x, y, z in mm."""
        return self.cube_mm / np.array([self.heatmap_size, self.heatmap_size, self.depth_dim], np.float64)

    def joints_mm(self, bins: NDArray[Any]) -> NDArray[np.float64]:
        """(…, 3) bins → (…, 3) mm from the cube's centre: x right, y down, z away from the camera."""
        return np.asarray(bins, np.float64) * self.bin_mm - self.cube_mm / 2

    def crop_pixels(self, bins: NDArray[Any]) -> NDArray[np.float64]:
        """(…, 3) bins → (…, 2) pixels of the crop."""
        return np.asarray(bins[..., :2], np.float64) * (self.input_size / self.heatmap_size)
