"""Image files for tests."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.datasets.orientation import MIRRORED, QUARTER_TURNS
from tests.support.drawings import drawn_images

ROTATE_90_CLOCKWISE_TO_VIEW = 6
"""EXIF orientation of an image that must be rotated by 90 degrees clockwise."""


def exif_of(orientation: int) -> bytes:
    """Return EXIF data with nothing but this orientation."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


EXIF = exif_of(ROTATE_90_CLOCKWISE_TO_VIEW)


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
    body = b"Exif\0\0" + EXIF
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:])
    return path


def write_rotated_transparent(path: Path, upright: NDArray[np.uint8]) -> Path:
    """Write (H, W, 4) RGBA as a PNG or WebP with rotated pixels and the matching EXIF orientation."""
    stored = np.ascontiguousarray(np.rot90(upright, k=1)[..., [2, 1, 0, 3]])
    height, width = stored.shape[:2]
    encoded = cv2.imencode(path.suffix, stored, (cv2.IMWRITE_WEBP_QUALITY, 101))[1].tobytes()  # 101: lossless
    if path.suffix == ".png":
        chunk = b"eXIf" + EXIF
        chunk = struct.pack(">I", len(EXIF)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        path.write_bytes(encoded[:33] + chunk + encoded[33:])  # after the header
        return path
    pixels = encoded[30:] if encoded[12:16] == b"VP8X" else encoded[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<II", 10, 0x18) + size  # 0x18: with transparency and EXIF
    body = b"WEBP" + extended + pixels + b"EXIF" + struct.pack("<I", len(EXIF)) + EXIF
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def turn_upright(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (H, W, …) stored pixels for display."""
    upright = np.rot90(stored, QUARTER_TURNS.get(orientation, 0))
    return np.ascontiguousarray(upright[:, ::-1] if orientation in MIRRORED else upright)
