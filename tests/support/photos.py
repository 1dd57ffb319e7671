"""Image files for tests."""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from export.images.drawings import drawn_images

ROTATE_90_CLOCKWISE_TO_VIEW = 6
"""EXIF orientation of an image that must be rotated by 90 degrees clockwise."""


def write_rgb(path: Path, image: NDArray[Any], *options: int) -> Path:
    """Write (H, W, 3) RGB of any type that the format supports."""
    assert cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]), options)
    return path


def write_crops(folder: Path, count: int) -> Path:
    """Write drawn images of 64 pixels into a new folder."""
    folder.mkdir()
    for index, image in enumerate(drawn_images(count, 64, 3)):
        write_rgb(folder / f"{index:03}.png", image)
    return folder


def write_rotated_jpeg(path: Path, upright: NDArray[np.uint8]) -> Path:
    """Write a JPEG with rotated pixels and the matching EXIF orientation."""
    stored = np.rot90(upright, k=1)
    write_rgb(path, stored, cv2.IMWRITE_JPEG_QUALITY, 100)
    body = b"Exif\0\0" + exif_of(ROTATE_90_CLOCKWISE_TO_VIEW)
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])
    return path


def exif_of(orientation: int) -> bytes:
    """Return EXIF data with nothing but this orientation."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
