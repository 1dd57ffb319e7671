"""An image file as the network's pixels: RGB, 8 bits, upright.

What files hold otherwise is turned into that, and said; what cannot be meant that way is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput

DARK = 2
"""An 8-bit image without a brighter pixel than this was divided by something: sensors are noisier than that."""

DARK_SHARE = 1 / 8
"""The same for 16 bits: a sensor's 12 bits, not shifted up, reach a sixteenth."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An image ready to be cropped."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, 0..255, as a person would see it."""
    notes: tuple[str, ...]
    """What was done to the file's pixels, and why."""
    warning: str | None
    """Why they may not be what they seem."""


def read_photo(path: Path) -> Photo:
    """Read any image that OpenCV reads; EXIF rotation is honoured, but for images with transparency.

    Grey becomes RGB, transparency black (as everything outside of an image is), 16 bits become 8.

    Raises:
        BadInput: missing, no image, or pixels that are not finite.
    """
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "name an image file") from error
    pixels = _decoded(encoded, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        seen = f"{encoded.size} bytes that OpenCV cannot decode"
        raise BadInput(f"{path} is not an image", seen, "give a JPEG, PNG, TIFF, BMP or WebP file")
    if pixels.ndim == 2 or pixels.shape[2] != 4:  # only this way of reading honours EXIF rotation
        pixels = _decoded(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        return from_pixels(pixels[..., ::-1], str(path))
    photo = from_pixels(pixels[..., 2::-1], str(path))
    most = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1.0
    opacity = np.clip(np.nan_to_num(pixels[..., 3:].astype(np.float32)) / most, 0, 1)
    notes = (*photo.notes, "transparent parts are black")
    return Photo(np.rint(photo.image * opacity).astype(np.uint8), notes, photo.warning)


def from_pixels(pixels: NDArray[Any], name: str) -> Photo:
    """(H, W, 3) RGB of any type → a photo, with a warning where the values look scaled already.

    Raises:
        BadInput: values that are not finite.
    """
    if not np.isfinite(pixels).all():
        raise BadInput(f"{name} has pixels that are not finite", "NaN or infinity", "give pixels from 0 to 255")
    low, high = float(pixels.min()), float(pixels.max())
    notes: tuple[str, ...] = ()
    if pixels.dtype == np.uint16 and high > 255:
        pixels, notes = np.rint(pixels / 257), ("16 bits a channel were reduced to 8",)
        if high <= np.iinfo(np.uint16).max * DARK_SHARE:
            warning = f"16-bit pixels reach only {high:.0f} of 65535: dark, or 10 or 12 bits that were not shifted up"
            return Photo(pixels.astype(np.uint8), notes, warning)
    return Photo(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), notes, _suspicion(low, high))


def _suspicion(low: float, high: float) -> str | None:
    if low < 0:
        return f"pixels from {low:.3g} to {high:.3g} look normalised already; the network wants 0 to 255, undivided"
    if 0 < high <= DARK:
        return f"pixels up to {high:.3g} look divided by 255 already; the network wants 0 to 255, undivided"
    return None


def _decoded(encoded: NDArray[np.uint8], flags: int) -> Any:
    import cv2

    try:
        return cv2.imdecode(encoded, flags) if encoded.size else None
    except cv2.error:
        return None
