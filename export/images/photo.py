"""Reader of image files as RGB with 8 bits, upright.

Other kinds of pixels are converted with a note; pixels that are not finite are refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput

DARK = 2
"""An 8-bit image without a brighter pixel was scaled before: sensors are noisier than that."""

DARK_SHARE = 1 / 8
"""The same for 16 bits, as a share: a sensor's 12 bits that were not shifted up reach a sixteenth."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An image ready to be cropped."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, 0..255, upright."""
    notes: tuple[str, ...]
    """Conversions of the file's pixels."""
    warning: str | None
    """Sign of pixels that were already scaled."""


def read_photo(path: Path) -> Photo:
    """Read any image that OpenCV reads, and rotate it as its EXIF says.

    Grey becomes RGB, transparency black (like everything outside of an image), 16 bits become 8.

    Raises:
        BadInput: the file is missing or not an image, or its pixels are not finite.
    """
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "name an image file") from error
    # IMREAD_UNCHANGED ignores EXIF rotation. Of the other flags, only this one keeps transparency; no GDAL is involved.
    pixels = _decode(encoded, cv2.IMREAD_LOAD_GDAL | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if pixels is None:
        size = f"{encoded.size} bytes that OpenCV cannot decode"
        raise BadInput(f"{path} is not an image", size, "name a JPEG, PNG, TIFF, BMP or WebP file")
    if pixels.ndim == 2 or pixels.shape[2] != 4:
        pixels = _decode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        return from_pixels(pixels[..., ::-1], str(path))
    photo = from_pixels(pixels[..., 2::-1], str(path))
    most = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1.0
    opacity = np.clip(np.nan_to_num(pixels[..., 3:].astype(np.float32)) / most, 0, 1)
    notes = (*photo.notes, "transparent parts are black")
    return Photo(np.rint(photo.image * opacity).astype(np.uint8), notes, photo.warning)


def from_pixels(pixels: NDArray[Any], name: str) -> Photo:
    """Convert (H, W, 3) RGB of any type to a photo, with a warning if the values look already scaled.

    Raises:
        BadInput: a value is not finite.
    """
    if not np.isfinite(pixels).all():
        raise BadInput(f"{name} has pixels that are not finite", "NaN or infinity", "use pixels from 0 to 255")
    low, high = float(pixels.min()), float(pixels.max())
    notes: tuple[str, ...] = ()
    if pixels.dtype == np.uint16 and high > 255:
        pixels, notes = np.rint(pixels / 257), ("16 bits a channel were reduced to 8",)
        if high <= np.iinfo(np.uint16).max * DARK_SHARE:
            warning = f"16-bit pixels reach only {high:.0f} of 65535: dark, or 10 or 12 bits that were not shifted up"
            return Photo(pixels.astype(np.uint8), notes, warning)
    return Photo(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), notes, _scale_warning(low, high))


def _scale_warning(low: float, high: float) -> str | None:
    if low < 0:
        return f"pixels from {low:.3g} to {high:.3g} look already normalised; the network needs 0 to 255, undivided"
    if 0 < high <= DARK:
        return f"pixels up to {high:.3g} look already divided by 255; the network needs 0 to 255, undivided"
    return None


def _decode(encoded: NDArray[np.uint8], flags: int) -> Any:
    import cv2

    try:
        return cv2.imdecode(encoded, flags) if encoded.size else None
    except cv2.error:
        return None
