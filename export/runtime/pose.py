"""Conversions between pixels, bins and millimetres, as in the released training and evaluation code.

Pixels are not divided by 255. The released code passes float pixels in 0..255 to a transform that rescales integers
only, and then normalises with the usual ImageNet statistics. Networks were trained on that; inputs reach about 1100.
Dividing gives wrong poses without any error.

Boxes are (x, y, width, height) in pixels of the image. Joints are (..., J, 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence, Tuple

import numpy as np

from .errors import BadInput

if TYPE_CHECKING:
    from typing import Protocol

    from numpy.typing import NDArray

    class Sized(Protocol):
        """Sizes of a network's input and volume."""

        @property
        def heatmap_size(self) -> int:
            """Edge of the map in bins."""

        @property
        def depth_dim(self) -> int:
            """Bins in depth."""

        @property
        def input_size(self) -> int:
            """Edge of the crop in pixels."""


MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
PIXEL_RANGE = (0, 255)
CUBE_MM = 2000.0
"""Edge of the volume that holds the joints, centred on the root joint."""

BOX_MARGIN = 1.25
"""Edge of the crop over the longer edge of the person's box."""

Box = Tuple[float, float, float, float]


@dataclass(frozen=True)
class Volume:
    """Volume of a network, to convert its bins into pixels of the crop and into mm."""

    heatmap_size: int
    """Edge of the map in bins."""
    depth_dim: int
    """Bins in depth."""
    input_size: int
    """Edge of the crop in pixels."""
    cube_mm: float = CUBE_MM

    @classmethod
    def from_architecture(cls, architecture: Sized) -> Volume:
        """Return the volume of a network, from its architecture or a record of it."""
        return cls(architecture.heatmap_size, architecture.depth_dim, architecture.input_size)

    @property
    def bin_mm(self) -> NDArray[np.float64]:
        """Edge lengths of one bin along x, y, z in mm, (3,)."""
        return self.cube_mm / np.array([self.heatmap_size, self.heatmap_size, self.depth_dim], np.float64)

    @property
    def bin_pixels(self) -> float:
        """Edge length of one bin in pixels of the crop."""
        return self.input_size / self.heatmap_size

    def crop_pixels(self, bins: NDArray[Any]) -> NDArray[np.float64]:
        """Turn (..., 3) bins into (..., 2) pixels of the crop."""
        return np.asarray(bins[..., :2], np.float64) * self.bin_pixels

    def joints_mm(self, bins: NDArray[Any]) -> NDArray[np.float64]:
        """Turn (..., 3) bins into (..., 3) mm from the cube's centre: x right, y down, z away from the camera."""
        return np.asarray(bins, np.float64) * self.bin_mm - self.cube_mm / 2

    def relative_depth_mm(self, bins: NDArray[Any]) -> NDArray[np.float64]:
        """Turn (..., 3) bins into (...) depth relative to the root joint in mm: (z / depth_dim · 2 − 1) · 1000."""
        return (np.asarray(bins[..., 2], np.float64) / self.depth_dim * 2 - 1) * (self.cube_mm / 2)

    def to_bins(self, crop_pixels: NDArray[Any], relative_depth_mm: NDArray[Any]) -> NDArray[np.float64]:
        """Invert ``crop_pixels`` and ``relative_depth_mm``: (..., 2) and (...) into (..., 3)."""
        z = (relative_depth_mm / (self.cube_mm / 2) + 1) / 2 * self.depth_dim
        return np.concatenate([crop_pixels / self.bin_pixels, z[..., None]], axis=-1)

    def mirrored(self, bins: NDArray[Any], mirror_pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
        """Turn (..., J, 3) joints of a mirrored crop into those of the crop.

        x becomes map − 1 − x, and left and right change places.
        """
        order = np.arange(bins.shape[-2])
        for left, right in mirror_pairs:
            order[left], order[right] = right, left
        joints = np.asarray(bins, np.float64)[..., order, :].copy()
        joints[..., 0] = self.heatmap_size - 1 - joints[..., 0]
        return joints


def normalise(crops: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Turn (N, S, S, 3) RGB pixels in 0..255 into (N, 3, S, S) float32 network input.

    New memory costs one per cent of a small network's time; ``out`` avoids it.
    """
    planes = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32) if out is None else out
    for channel in range(3):  # six times as fast as all channels at once
        plane = planes[:, channel]
        np.subtract(crops[..., channel], np.float32(MEAN[channel]), out=plane, dtype=np.float32)
        plane /= np.float32(STD[channel])
    return planes


def crop_box(box: Sequence[float], width: int, height: int) -> Box:
    """Return the person's box clipped to the image, made square and enlarged, as in the released code.

    Raises:
        BadInput: the box does not overlap the image.
    """
    x, y, w, h = (float(value) for value in box)
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(width - 1.0, left + max(0.0, w - 1)), min(height - 1.0, top + max(0.0, h - 1))
    outside = x + w <= 0 or y + h <= 0  # clipping alone would move such a box into the image
    if outside or not math.isfinite(x + y + w + h) or not (w > 0 and h > 0 and right > left and bottom > top):
        raise BadInput(
            "the person's box has no area inside the image",
            f"box x={x:g}, y={y:g}, width={w:g}, height={h:g}; image {width}×{height}",
            "give x,y,width,height in pixels of the image",
        )
    return enlarged((left, top, right - left, bottom - top))


def enlarged(box: Sequence[float]) -> Box:
    """Return the box made square about its centre, ``BOX_MARGIN`` times as large."""
    x, y, width, height = (float(value) for value in box)
    edge = max(width, height) * BOX_MARGIN
    return x + (width - edge) / 2, y + (height - edge) / 2, edge, edge


def crop(image: NDArray[np.uint8], box: Box, size: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Warp the box of an (H, W, 3) image bilinearly to (size, size, 3); outside of the image it is black.

    OpenCV does it where it is installed. The result is written to ``out`` where that is given.
    """
    cv2 = opencv()
    if cv2 is None:
        warped = crop_with_numpy(image, box, size)
        if out is None:
            return warped
        out[...] = warped
        return out
    x, y, width, height = box
    scale_x, scale_y = size / width, size / height
    matrix = np.array([[scale_x, 0, -x * scale_x], [0, scale_y, -y * scale_y]])
    warped = cv2.warpAffine(image, matrix, (size, size), dst=out, flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


@lru_cache(maxsize=None)
def opencv() -> Any:
    """Import and return OpenCV, or None where it is not installed."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def crop_with_numpy(image: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """Crop without OpenCV: interpolate rows, then columns.

    OpenCV 5 rounds a few pixels in a thousand the other way, by one grey level.
    """
    x, y, width, height = box
    rows, columns = _samples(y, height, image.shape[0], size), _samples(x, width, image.shape[1], size)
    first, last = int(columns.low.min()), int(columns.high.max()) + 1
    part, channels = image[:, first:last], np.arange(3)
    tall = np.multiply(part[rows.low].reshape(size, -1), rows.low_weight[:, None], dtype=np.float32)
    tall += np.multiply(part[rows.high].reshape(size, -1), rows.high_weight[:, None], dtype=np.float32)
    left = (3 * (columns.low - first)[:, None] + channels).reshape(-1)  # numbers, not pixels: twice as fast
    right = (3 * (columns.high - first)[:, None] + channels).reshape(-1)
    mixed = tall.take(left, axis=1) * np.repeat(columns.low_weight, 3)
    mixed += tall.take(right, axis=1) * np.repeat(columns.high_weight, 3)
    return np.asarray(np.rint(mixed), np.uint8).reshape(size, size, 3)


def crop_to_image(pixels: NDArray[Any], box: Any, size: int) -> NDArray[np.float64]:
    """Turn pixels of the crop into pixels of the image; the inverse of ``crop``'s map.

    Args:
        pixels: (..., 2) with one box, or (N, J, 2) with N of them.
        box: four numbers, or (N, 4).
        size: edge of the crop.
    """
    boxes = np.asarray(box, np.float64)
    boxes = boxes.reshape(-1, 1, 4) if boxes.ndim == 2 else boxes
    return np.asarray(pixels * (boxes[..., 2:] / size) + boxes[..., :2], np.float64)


def image_to_crop(pixels: NDArray[Any], box: Box, size: int) -> NDArray[np.float64]:
    """Turn (..., 2) pixels of the image into pixels of the crop."""
    x, y, width, height = box
    return np.asarray((pixels - (x, y)) * (size / width, size / height), np.float64)


class _Samples(NamedTuple):
    """The two pixels of a line around each sample, and their weights; 0 outside of the image."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    low_weight: NDArray[np.float32]
    high_weight: NDArray[np.float32]


def _samples(start: float, length: float, limit: int, size: int) -> _Samples:
    positions = start + np.arange(size) * (length / size)
    low = np.floor(positions).astype(np.int64)
    share = positions - low
    low_weight = np.where((low >= 0) & (low < limit), 1 - share, 0).astype(np.float32)
    high_weight = np.where((low + 1 >= 0) & (low + 1 < limit), share, 0).astype(np.float32)
    return _Samples(low.clip(0, limit - 1), (low + 1).clip(0, limit - 1), low_weight, high_weight)
