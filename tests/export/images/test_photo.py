"""Image files become upright RGB in 0..255, or are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.common.errors import BadInput
from export.images.photo import read_photo
from tests.support.photos import write_rgb, write_rotated_jpeg, write_rotated_transparent


@pytest.fixture
def colours() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)


def test_rgb_comes_back_as_it_was(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    photo = read_photo(write_rgb(tmp_path / "a.png", colours))
    assert np.array_equal(photo.image, colours)
    assert photo.image.dtype == np.uint8
    assert (photo.notes, photo.warning) == ((), None)


def test_exif_rotation_is_honoured(tmp_path: Path) -> None:
    upright = np.zeros((40, 80, 3), np.uint8)
    upright[:20, :40, 0] = 250  # red at the upper left
    seen = read_photo(write_rotated_jpeg(tmp_path / "a.jpg", upright)).image
    assert seen.shape == upright.shape
    assert np.abs(seen.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_exif_rotation_is_honoured_with_transparency(tmp_path: Path, suffix: str, colours: NDArray[np.uint8]) -> None:
    opacity = np.full((40, 60, 1), 255, np.uint8)
    opacity[:10, :20] = 0
    path = write_rotated_transparent(tmp_path / f"a{suffix}", np.concatenate([colours, opacity], axis=2))
    photo = read_photo(path)
    assert np.array_equal(photo.image, np.where(opacity > 0, colours, 0))
    assert photo.notes == ("transparent parts are black",)


def test_sixteen_bits_become_eight(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    photo = read_photo(write_rgb(tmp_path / "a.png", colours.astype(np.uint16) * 257))
    assert np.array_equal(photo.image, colours)
    assert photo.notes == ("16 bits a channel were reduced to 8",)


@pytest.mark.parametrize(
    ("scaled", "words"),
    [
        (lambda x: x.astype(np.uint16) * 16, "12 bits"),
        (lambda x: (x / 255).astype(np.float32), "divided by 255"),
        (lambda x: ((x / 255 - 0.45) / 0.22).astype(np.float32), "already normalised"),
        (lambda x: (x > 128).astype(np.uint8), "divided by 255"),
    ],
)
def test_pixels_that_look_scaled_are_warned_of(
    tmp_path: Path, colours: NDArray[np.uint8], scaled: Any, words: str
) -> None:
    warning = read_photo(write_rgb(tmp_path / "a.tiff", scaled(colours))).warning
    assert warning is not None
    assert words in warning


def test_float_pixels_in_the_right_range_are_taken(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    photo = read_photo(write_rgb(tmp_path / "a.tiff", colours.astype(np.float32)))
    assert np.array_equal(photo.image, colours)
    assert photo.warning is None


def test_a_black_image_is_not_called_scaled(tmp_path: Path) -> None:
    assert read_photo(write_rgb(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))).warning is None


def test_what_is_no_image_is_refused(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    nan = colours.astype(np.float32)
    nan[3, 4] = np.nan
    write_rgb(tmp_path / "nan.tiff", nan)
    for name in ("text.jpg", "empty.png", "cut.jpg", "nan.tiff", "missing.png", "."):
        with pytest.raises(BadInput) as refused:
            read_photo(tmp_path / name)
        assert str(tmp_path) in refused.value.problem
