"""Crops from a folder: files that are read, skipped and refused."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from export.common.errors import BadInput
from export.images.image_set import SUFFIXES, read_crops

RED = (255, 0, 0)


def write(path: Path, width: int = 64, height: int = 64, rgb: tuple[int, int, int] = RED) -> None:
    image: NDArray[np.uint8] = np.full((height, width, 3), rgb[::-1], np.uint8)
    assert cv2.imwrite(str(path), image)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_file_is_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}").rename(tmp_path / f"A{suffix.upper()}")
    crops = read_crops(tmp_path, 32, fewest=1, most=9)
    assert crops.images.shape == (1, 32, 32, 3)
    assert np.abs(crops.images[0].astype(int) - RED).max() < 4
    assert (crops.files, crops.unreadable, crops.made_square) == (1, (), 0)


def test_a_square_image_is_resized_and_another_surrounded(tmp_path: Path) -> None:
    write(tmp_path / "0.png", 128, 128)
    write(tmp_path / "1.png", 100, 60)
    square, wide = read_crops(tmp_path, 64, fewest=1, most=9).images
    assert (square == RED).all()
    assert (wide[32, 32] == RED).all()
    assert not wide[0].any()
    assert not wide[32, 2].any()  # a quarter larger than the person's box, which the image is
    assert read_crops(tmp_path, 64, fewest=1, most=9).made_square == 1


def test_many_images_are_chosen_evenly_in_the_order_of_their_names(tmp_path: Path) -> None:
    for k in range(10):
        write(tmp_path / f"{k}.png", rgb=(20 * k, 0, 0))
    crops = read_crops(tmp_path, 64, fewest=1, most=4)
    assert crops.images[:, 0, 0, 0].tolist() == [0, 60, 120, 180]
    assert crops.files == 10


def test_what_holds_no_image_is_named(tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.png").write_bytes(whole[:20])
    write(tmp_path / "line.png", 64, 1)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "notes.txt").write_text("no image, and not called one")
    crops = read_crops(tmp_path, 64, fewest=1, most=9)
    assert crops.unreadable == ("cut.png", "empty.png", "line.png", "text.jpg")
    assert (len(crops.images), crops.files, crops.subfolders) == (1, 5, 1)
    with pytest.raises(BadInput, match=r"1 readable of 5 .*cut.png, empty.png.*1 subfolders"):
        read_crops(tmp_path, 64, fewest=2, most=9)


def test_an_empty_folder_and_none_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="0 readable of 0 files"):
        read_crops(tmp_path, 64, fewest=1, most=9)
    (tmp_path / "file").touch()
    for wrong in ("nowhere", "file"):
        with pytest.raises(BadInput, match="cannot read the folder"):
            read_crops(tmp_path / wrong, 64, fewest=1, most=9)
