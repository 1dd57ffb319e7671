"""Pixels in, bins and millimetres out, as the released training and evaluation code has it.

There is no division by 255. The released code hands float pixels in 0..255 to a transform that only
rescales integers, and then normalises with the usual ImageNet statistics; the networks were trained on
that, and inputs reach about 1100. A consumer who divides gets wrong poses without any error.

Boxes are (x, y, width, height) in pixels of the image. Joints are (..., J, 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from export.errors import BadInput

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
PIXEL_RANGE = (0, 255)
CUBE_MM = 2000.0
"""Edge of the volume in which joints are found, centred on the root joint."""

BOX_MARGIN = 1.25
"""How much larger than the person's box the crop is."""

Array = NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: focal lengths and principal point in pixels of the image."""

    fx: float
    fy: float
    cx: float
    cy: float

    def project(self, points_mm: Array) -> Array:
        """(..., 3) camera coordinates in mm → (..., 2) pixels."""
        return points_mm[..., :2] / points_mm[..., 2:] * (self.fx, self.fy) + (self.cx, self.cy)

    def back_project(self, pixels: Array, depth_mm: Array) -> Array:
        """(..., 2) pixels and (...) depths in mm → (..., 3) camera coordinates in mm: X = (x - cx) / f · Z."""
        flat = (pixels - (self.cx, self.cy)) / (self.fx, self.fy) * depth_mm[..., None]
        return np.concatenate([flat, depth_mm[..., None]], axis=-1)


class Sized(Protocol):
    """What an architecture says of a network's volume."""

    @property
    def heatmap_size(self) -> int:
        """Edge of the map in bins."""

    @property
    def depth_dim(self) -> int:
        """Bins in depth."""

    @property
    def input_size(self) -> int:
        """Edge of the crop in pixels."""


@dataclass(frozen=True)
class Volume:
    """The volume of a network: what turns its bins into pixels of the crop and into mm."""

    heatmap_size: int
    depth_dim: int
    input_size: int

    @classmethod
    def of(cls, architecture: "Sized") -> "Volume":
        """The volume of a network, from its architecture or from a record of it."""
        return cls(architecture.heatmap_size, architecture.depth_dim, architecture.input_size)

    @property
    def bin_mm(self) -> Array:
        """(3,) edge lengths of one bin along x, y, z in mm, in the cube of ``CUBE_MM``."""
        return CUBE_MM / np.array([self.heatmap_size, self.heatmap_size, self.depth_dim], np.float64)

    @property
    def bin_pixels(self) -> float:
        """Edge length of one bin in pixels of the crop."""
        return self.input_size / self.heatmap_size

    def crop_pixels(self, bins: Array) -> Array:
        """(..., 3) bins → (..., 2) pixels of the crop."""
        return np.asarray(bins[..., :2], np.float64) * self.bin_pixels

    def relative_depth_mm(self, bins: Array) -> Array:
        """(..., 3) bins → (...) depth relative to the root joint in mm: (z / depth_dim · 2 − 1) · 1000."""
        return (np.asarray(bins[..., 2], np.float64) / self.depth_dim * 2 - 1) * (CUBE_MM / 2)

    def to_bins(self, crop_pixels: Array, relative_depth_mm: Array) -> Array:
        """The inverse of the two above: (..., 2) and (...) → (..., 3)."""
        z = (relative_depth_mm / (CUBE_MM / 2) + 1) / 2 * self.depth_dim
        return np.concatenate([crop_pixels / self.bin_pixels, z[..., None]], axis=-1)

    def mirrored(self, bins: Array, mirror_pairs: Sequence[tuple[int, int]]) -> Array:
        """(..., J, 3) joints of a mirrored crop as those of the crop: x → map − 1 − x, left and right exchanged."""
        order = np.arange(bins.shape[-2])
        for left, right in mirror_pairs:
            order[left], order[right] = right, left
        turned = np.asarray(bins, np.float64)[..., order, :].copy()
        turned[..., 0] = self.heatmap_size - 1 - turned[..., 0]
        return turned


def locate(bins: Array, volume: Volume, box: Box, camera: Camera, root_depth_mm: float) -> Array:
    """(..., J, 3) bins of a crop at ``box`` → camera coordinates in mm, given how far away the root joint is."""
    image_px = crop_to_image(volume.crop_pixels(bins), box, volume.input_size)
    return camera.back_project(image_px, volume.relative_depth_mm(bins) + root_depth_mm)


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S, 3) RGB pixels in 0..255 → (N, 3, S, S) float32 network input."""
    planes = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):  # six times as fast as all at once
        plane = planes[:, channel]
        np.subtract(images[..., channel], np.float32(mean), out=plane, dtype=np.float32)
        plane /= np.float32(std)
    return planes


def crop_box(box: Sequence[float], width: int, height: int) -> Box:
    """The person's box clipped to the image, made square and enlarged, as the released code does it.

    Raises:
        BadInput: no area of the box lies in the image.
    """
    x, y, w, h = (float(value) for value in box)
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(width - 1.0, left + max(0.0, w - 1)), min(height - 1.0, top + max(0.0, h - 1))
    beside = x + w <= 0 or y + h <= 0  # clipping alone would move such a box into the image
    if beside or not (w > 0 and h > 0 and right > left and bottom > top):
        raise BadInput(
            "the person's box has no area inside the image",
            f"box x={x:g}, y={y:g}, width={w:g}, height={h:g}; image {width}×{height}",
            "give x,y,width,height in pixels of the image",
        )
    return enlarged((left, top, right - left, bottom - top))


def enlarged(box: Sequence[float]) -> Box:
    """The box made square about its centre, and larger by ``BOX_MARGIN``."""
    x, y, width, height = (float(value) for value in box)
    edge = max(width, height) * BOX_MARGIN
    return x + (width - edge) / 2, y + (height - edge) / 2, edge, edge


def crop(image: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB → (size, size, 3): the box warped bilinearly, black where it leaves the image."""
    import cv2

    x, y, width, height = box
    scale_x, scale_y = size / width, size / height
    matrix = np.array([[scale_x, 0, -x * scale_x], [0, scale_y, -y * scale_y]])
    warped: Any = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


def crop_to_image(pixels: Array, box: Box, size: int) -> Array:
    """(..., 2) pixels of the crop → pixels of the image; the inverse of ``crop``'s map."""
    x, y, width, height = box
    return pixels * (width / size, height / size) + (x, y)


def image_to_crop(pixels: Array, box: Box, size: int) -> Array:
    """(..., 2) pixels of the image → pixels of the crop."""
    x, y, width, height = box
    return (pixels - (x, y)) * (size / width, size / height)
