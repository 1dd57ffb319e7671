"""Image files of a dataset."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput

SIZE_TOLERANCE_PX = 4
"""Allowed difference between an image and its annotated size: tools that cut videos into images drop or pad a few rows.
A larger one means that it was resized or turned, and then every annotated pixel is wrong."""


def read_image(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB pixels 0..255, upright as the file's EXIF orientation says.

    Raises:
        BadInput: no image, or its size differs from the annotated one.
    """
    import cv2

    try:
        encoded = np.fromfile(path, np.uint8)  # not cv2.imread, which knows no Unicode paths on Windows
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error
    except cv2.error as error:
        raise _no_image(path, error.err or str(error)) from error
    if decoded is None:
        raise _no_image(path, f"{encoded.size:,} bytes that OpenCV cannot decode")
    actual_height, actual_width = decoded.shape[:2]
    if max(abs(actual_height - height), abs(actual_width - width)) > SIZE_TOLERANCE_PX:
        raise BadInput(
            f"{path} is not the image that was annotated",
            f"{actual_width}×{actual_height} pixels, annotated {width}×{height}",
            "use the original image, neither resized nor turned",
        )
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _no_image(path: Path, detail: str) -> BadInput:
    return BadInput(f"cannot read the image {path}", detail, "download it again, or remove it from the dataset")
