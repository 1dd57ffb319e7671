"""EXIF orientations, compared with what OpenCV does."""

import struct

import cv2
import numpy as np
import pytest

from bench.datasets.orientation import UPRIGHT, read_orientation, turn_points
from tests.support.photos import exif_of, turn_upright

STORED = np.kron(np.arange(24).reshape(4, 6), np.ones((8, 8))).astype(np.uint8)[..., None].repeat(3, axis=-1) * 10


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_read_and_turned_as_opencv_does(suffix: str, orientation: int) -> None:
    exif = np.frombuffer(exif_of(orientation), np.uint8)
    encoded = cv2.imencodeWithMetadata(suffix, STORED, [cv2.IMAGE_METADATA_EXIF], [exif])[1]
    assert read_orientation(encoded.tobytes()) == orientation
    stored = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    shown = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert stored is not None
    assert shown is not None
    assert np.array_equal(turn_upright(stored, orientation), shown)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_are_turned_like_the_image(orientation: int) -> None:
    shown = turn_upright(np.arange(12).reshape(3, 4), orientation)
    for value in range(12):
        stored = np.array([value % 4, value // 4])
        x, y = turn_points(stored, (4, 3), orientation)
        assert shown[y, x] == value


def test_other_byte_order_and_tiff_files_are_read() -> None:
    big = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, 5, 0, 0)
    assert read_orientation(big) == 5
    assert read_orientation(b"\xff\xd8\xff\xe1\0\0Exif\0\0" + big) == 5


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xff\xd8Exif\0\0",
        b"\xff\xd8Exif\0\0" + exif_of(6)[:15],
        b"\xff\xd8Exif\0\0II*\0\xff\xff\xff\xff",
        b"\xff\xd8Exif\0\0" + exif_of(9),
        exif_of(0),
        b"\xff\xd8" + bytes(1 << 18) + b"Exif\0\0" + exif_of(6),
    ],
)
def test_damaged_or_missing_exif_is_upright(encoded: bytes) -> None:
    assert read_orientation(encoded) == UPRIGHT
