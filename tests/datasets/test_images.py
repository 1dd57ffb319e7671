"""Images as they are read for a dataset."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.datasets.images import read_image


def test_the_exif_orientation_is_honoured(tmp_path: Path) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20] = (10, 200, 30)
    turned = cv2.rotate(cv2.cvtColor(upright, cv2.COLOR_RGB2BGR), cv2.ROTATE_90_COUNTERCLOCKWISE)
    encoded = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    # Orientation 6: turn it clockwise to see it upright.
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    app1 = b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(encoded[:2] + b"\xff\xe1" + (len(app1) + 2).to_bytes(2, "big") + app1 + encoded[2:])
    image = read_image(path, 60, 40)
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_are_read_in_colour(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "ünïcode.png"
    encoded = cv2.imencode(".png", np.full((9, 7, channels), 77, np.uint8))[1]
    path.write_bytes(encoded.tobytes())
    assert (read_image(path, 7, 9) == np.full((9, 7, 3), 77)).all()
