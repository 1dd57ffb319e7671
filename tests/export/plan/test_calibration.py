"""Images that calibrate: refused or believed, and never those that parity is judged on."""

from pathlib import Path

import numpy as np
import pytest

from export.common.errors import BadInput
from export.images.drawings import drawn_images
from export.images.image_set import ImageSet
from export.parity.images import parity_images, require_disjoint
from export.plan.calibration import NEEDED_IMAGES, drawn_calibration, folder_calibration
from tests.support.photos import write_rgb


def folder_of(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index, image in enumerate(drawn_images(count, 64, 3)):
        write_rgb(folder / f"{index:03}.png", image)
    return folder


def test_a_folder_of_crops_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "crops", 33)
    found = folder_calibration(folder, 64)
    assert np.array_equal(found.images, drawn_images(33, 64, 3))
    assert (found.as_json()["count"], found.source) == (33, "crops from folder crops")
    assert found.sha256 == folder_calibration(folder, 64).sha256 != folder_calibration(folder, 128).sha256


def test_one_unreadable_file_is_named_and_many_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "crops", 40)
    (folder / "bad.jpg").write_text("no image")
    assert "bad.jpg" in folder_calibration(folder, 64).notes[0]
    for index in range(4):
        (folder / f"worse{index}.png").write_text("no image")
    with pytest.raises(BadInput, match=r"5 of 45: bad.jpg"):
        folder_calibration(folder, 64)


def test_too_few_repeated_flat_or_missing_images_are_refused(tmp_path: Path) -> None:
    few = folder_of(tmp_path / "few", 31)
    with pytest.raises(BadInput, match="31 readable of 31"):
        folder_calibration(few, 64)
    (few / "more").mkdir()
    (few / "000.png").rename(few / "more/000.png")
    with pytest.raises(BadInput, match=r"30 readable of 30 .*1 subfolders"):
        folder_calibration(few, 64)
    repeated = folder_of(tmp_path / "repeated", 31)
    for index in range(10):
        (repeated / f"again{index}.png").write_bytes((repeated / "000.png").read_bytes())
    with pytest.raises(BadInput, match="31 in"):
        folder_calibration(repeated, 64)
    flat = tmp_path / "flat"
    flat.mkdir()
    for level in range(40):
        write_rgb(flat / f"{level}.png", np.full((64, 64, 3), (level, 200, 2 * level), np.uint8))  # in colour, too
    with pytest.raises(BadInput, match="flat"):
        folder_calibration(flat, 64)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="0 readable of 0"):
        folder_calibration(tmp_path / "empty", 64)
    with pytest.raises(BadInput, match="cannot read"):
        folder_calibration(tmp_path / "nowhere", 64)


def test_drawn_calibration_is_deterministic_and_apart_from_other_images() -> None:
    drawn = drawn_calibration(256)
    assert drawn.sha256 == drawn_calibration(256).sha256
    assert len(drawn.images) >= NEEDED_IMAGES
    assert len(drawn_calibration(128).images) >= NEEDED_IMAGES


def test_parity_is_not_judged_on_calibration_images(tmp_path: Path) -> None:
    drawn = parity_images(256)
    assert len(drawn.images) >= 64
    require_disjoint(drawn, drawn_calibration(256).record)
    both = ImageSet(np.concatenate([drawn_calibration(256).images[:1], drawn.images]), "both")
    with pytest.raises(BadInput, match="1 images are both in"):
        require_disjoint(both, drawn_calibration(256).record)


def test_parity_on_a_folder_needs_enough_images(tmp_path: Path) -> None:
    assert len(parity_images(64, folder_of(tmp_path / "enough", 64)).images) == 64
    with pytest.raises(BadInput, match="63 readable of 63"):
        parity_images(64, folder_of(tmp_path / "few", 63))
