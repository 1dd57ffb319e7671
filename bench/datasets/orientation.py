"""EXIF orientation of an image file: how a viewer turns its stored pixels."""

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIFF = re.compile(rb"II\*\0|MM\0\*")
"""First bytes of EXIF data, and of a TIFF file."""
MARKER = re.compile(rb"Exif|eXIf|EXIF")
"""Name of the EXIF data in JPEG and AVIF, PNG, WebP."""
JPEG, JPEG_HEAD = b"\xff\xd8", 1 << 18
"""Bytes of a JPEG that are searched: EXIF is in one of its first segments, of 64 KiB each."""
TAG, SHORT = 0x0112, 3

UPRIGHT = 1
QUARTER_TURNS = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}
"""Orientation → counter-clockwise quarter turns for display..."""
MIRRORED = (2, 4, 5, 7)
"""... and the orientations that are mirrored left to right afterwards."""
SWAPPED = (5, 6, 7, 8)
"""Orientations that swap width and height."""


def read_orientation(encoded: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, in the bytes of an image file; 1 without one, or with a damaged one."""
    limit = JPEG_HEAD if encoded.startswith(JPEG) else len(encoded)
    marker = None if TIFF.match(encoded) else MARKER.search(encoded, 0, limit)
    header = TIFF.search(encoded, marker.end(), limit) if marker else TIFF.match(encoded)
    if header is None:
        return UPRIGHT
    order, data = "<" if header[0].startswith(b"II") else ">", encoded[header.start() :]
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, start)
        for index in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, start + 2 + 12 * index)
            if tag == TAG:
                return value if kind == SHORT and UPRIGHT <= value <= 8 else UPRIGHT
    except struct.error:
        return UPRIGHT
    return UPRIGHT


def turn_points(points: NDArray[Any], size: tuple[int, int], orientation: int) -> NDArray[Any]:
    """Turn (…, 2) x, y in pixels of a stored image of this width and height as a viewer turns the image."""
    (width, height), (x, y) = size, np.moveaxis(points, -1, 0)
    for _ in range(QUARTER_TURNS.get(orientation, 0)):
        x, y, width, height = y, width - 1 - x, height, width
    return np.stack([width - 1 - x if orientation in MIRRORED else x, y], axis=-1)
