"""Image → network input, as the network was trained on: there is no division by 255."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Tuple

import numpy as np

from pose_runtime.runtime.errors import BadInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

try:
    import cv2
except ImportError:
    cv2 = None  # type: ignore[assignment]

Box = Tuple[float, float, float, float]
"""x, y, width, height in pixels of the image."""


class Preprocessing(NamedTuple):
    """What a bundle's manifest says of the input."""

    input_size: int
    mean: Sequence[float]
    std: Sequence[float]
    box_margin: float

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Preprocessing:
        """What this manifest says."""
        given = manifest["preprocessing"]
        return cls(given["input_size"], given["mean"], given["std"], given["box_margin"])

    def crop_box(self, box: Sequence[float], width: int, height: int) -> Box:
        """A person's box clipped to the image, made square about its centre, and enlarged.

        Raises:
            BadInput: no area of the box lies in the image.
        """
        x, y, w, h = (float(value) for value in box)
        left, top = max(0.0, x), max(0.0, y)
        right = min(width - 1.0, left + max(0.0, w - 1))
        bottom = min(height - 1.0, top + max(0.0, h - 1))
        beside = x + w <= 0 or y + h <= 0  # clipping alone would move such a box into the image
        if beside or not (w > 0 and h > 0 and right > left and bottom > top):
            seen = f"box x={x:g}, y={y:g}, width={w:g}, height={h:g}; image {width}×{height}"
            do = "give x, y, width, height in pixels of the image"
            raise BadInput("a person's box has no area inside the image", seen, do)
        edge = max(right - left, bottom - top) * self.box_margin
        return left + (right - left - edge) / 2, top + (bottom - top - edge) / 2, edge, edge

    def normalise(self, crops: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(N, S, S, 3) RGB pixels in 0..255 → (N, 3, S, S) float32: (pixel − mean) / std, of pixels as they are.

        Into ``out`` where it is given: new memory costs a per cent of a small network's time.
        """
        planes = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32) if out is None else out
        for channel in range(3):  # several times as fast as all at once
            plane = planes[:, channel]
            np.subtract(crops[..., channel], np.float32(self.mean[channel]), out=plane, dtype=np.float32)
            plane /= np.float32(self.std[channel])
        return planes


def crop(image: NDArray[np.uint8], box: Box, out: NDArray[np.uint8]) -> None:
    """(H, W, 3) → ``out``, (S, S, 3): the box warped bilinearly, black where it leaves the image."""
    size = len(out)
    if cv2 is None:
        out[...] = crop_with_numpy(image, box, size)
        return
    x, y, width, height = box
    scale_x, scale_y = size / width, size / height
    matrix = np.array([[scale_x, 0, -x * scale_x], [0, scale_y, -y * scale_y]])
    cv2.warpAffine(image, matrix, (size, size), dst=out, flags=cv2.INTER_LINEAR)


def crop_with_numpy(image: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """The same without OpenCV. The box is not turned, so that rows and columns can be interpolated one after the other.

    OpenCV 5 was seen to differ by one grey level at a few pixels in a thousand, which are rounded the other way.
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


def crops_to_image(pixels: NDArray[np.float64], boxes: Sequence[Box], size: int) -> NDArray[np.float64]:
    """(N, J, 2) pixels of N crops → pixels of the image."""
    place = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    return pixels * (place[..., 2:] / size) + place[..., :2]


def as_boxes(boxes: Any, width: int, height: int) -> list[Sequence[float]]:
    """One box or many → a list of four numbers each; None is the whole image.

    Raises:
        BadInput: other shapes, or values that are not finite.
    """
    if boxes is None:
        return [(0.0, 0.0, float(width), float(height))]
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError) as error:
        do = "give (N, 4): x, y, width, height in pixels"
        raise BadInput("these are no boxes", f"{type(boxes).__name__}: {error}", do) from error
    if array.shape == (4,):
        array = array[None]
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise BadInput("these are no boxes", f"shape {array.shape}", "give (N, 4): x, y, width, height in pixels")
    return [tuple(box) for box in array]


class _Samples(NamedTuple):
    """Between which two pixels of a line each sample lies, and what each of them weighs; 0 outside of the image."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    low_weight: NDArray[np.float32]
    high_weight: NDArray[np.float32]


def _samples(start: float, length: float, limit: int, size: int) -> _Samples:
    at = start + np.arange(size) * (length / size)
    low = np.floor(at).astype(np.int64)
    share = at - low
    low_weight = np.where((low >= 0) & (low < limit), 1 - share, 0).astype(np.float32)
    high_weight = np.where((low + 1 >= 0) & (low + 1 < limit), share, 0).astype(np.float32)
    return _Samples(low.clip(0, limit - 1), (low + 1).clip(0, limit - 1), low_weight, high_weight)
