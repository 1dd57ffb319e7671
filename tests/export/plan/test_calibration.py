"""Images for calibration: refusals of a folder, and the drawn set."""

from pathlib import Path

import numpy as np
import pytest

from export.common.errors import BadInput
from export.plan.calibration import FEWEST_IMAGES, drawn_calibration, folder_calibration
from tests.support.drawings import drawn_images
from tests.support.photos import write_crops, write_rgb


def test_a_folder_of_crops_is_read(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "crops", 33)
    images = folder_calibration(folder, 64)
    assert np.array_equal(images.images, drawn_images(33, 64, 3))
    assert (images.as_json()["count"], images.source) == (33, "crops from folder crops")
    assert images.sha256 == folder_calibration(folder, 64).sha256 != folder_calibration(folder, 128).sha256


def test_one_unreadable_file_is_named_and_many_are_refused(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "crops", 40)
    (folder / "bad.jpg").write_text("no image")
    assert "bad.jpg" in folder_calibration(folder, 64).notes[0]
    for index in range(4):
        (folder / f"worse{index}.png").write_text("no image")
    with pytest.raises(BadInput, match=r"5 of 45: bad.jpg"):
        folder_calibration(folder, 64)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "few", 31)
    with pytest.raises(BadInput, match="31 readable of 31"):
        folder_calibration(folder, 64)
    (folder / "more").mkdir()
    (folder / "000.png").rename(folder / "more/000.png")
    with pytest.raises(BadInput, match=r"30 readable of 30 .*1 subfolders"):
        folder_calibration(folder, 64)


def test_repeated_images_are_refused(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "repeated", 31)
    for index in range(10):
        (folder / f"again{index}.png").write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(BadInput, match="31 in"):
        folder_calibration(folder, 64)


def test_flat_images_are_refused(tmp_path: Path) -> None:
    for level in range(40):  # flat in colour, too
        write_rgb(tmp_path / f"{level}.png", np.full((64, 64, 3), (level, 200, 2 * level), np.uint8))
    with pytest.raises(BadInput, match="flat"):
        folder_calibration(tmp_path, 64)


@pytest.mark.parametrize("size", [128, 256])
def test_drawn_calibration_is_deterministic(size: int) -> None:
    drawn = drawn_calibration(size)
    assert drawn.sha256 == drawn_calibration(size).sha256
    assert len(drawn.images) >= FEWEST_IMAGES
