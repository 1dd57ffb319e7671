"""Datasets with images that have an EXIF orientation: annotations in stored or in shown pixels."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bench.datasets.coco import open_coco
from bench.datasets.images import Pixels
from bench.datasets.orientation import turn_points
from bench.datasets.protocol import Dataset
from export.common.errors import BadInput
from export.model.joint_sets import HUMAN36M
from tests.bench.datasets.readers import SIZE, edit
from tests.support.photos import exif_of, turn_upright
from tests.support.tiny_datasets import HEIGHT, WIDTH, write_coco

UPSIDE_DOWN, CLOCKWISE, COUNTER_CLOCKWISE = 3, 6, 8
BACK = {UPSIDE_DOWN: UPSIDE_DOWN, CLOCKWISE: COUNTER_CLOCKWISE, COUNTER_CLOCKWISE: CLOCKWISE}
"""Orientation that turns a shown image back to the stored one."""


def opened(folder: Path, pixels: Pixels | None = None) -> Dataset:
    return open_coco(folder, HUMAN36M, SIZE, pixels)


def turn_files(folder: Path, orientation: int, count: int = 3) -> None:
    """Store the first images turned, with the orientation that shows them as before."""
    for path in sorted((folder / "images").iterdir())[:count]:
        shown = cv2.imread(str(path))
        assert shown is not None
        stored = turn_upright(shown, BACK.get(orientation, orientation))
        exif = np.frombuffer(exif_of(orientation), np.uint8)
        path.write_bytes(cv2.imencodeWithMetadata(".png", stored, [cv2.IMAGE_METADATA_EXIF], [exif])[1].tobytes())


def annotate_stored(document: Any, orientation: int) -> None:
    """Rewrite boxes, joints, sizes and cameras in the pixels of the stored images."""
    back, size = BACK[orientation], (WIDTH, HEIGHT)
    for image, annotation in zip(document["images"], document["annotations"], strict=True):
        fx, fy, cx, cy = (
            image["intrinsic"]
            if isinstance(image["intrinsic"], list)
            else np.ravel([image["intrinsic"]["focal"], image["intrinsic"]["princpt"]])
        )
        x, y, width, height = annotation["bbox"]
        corners = turn_points(np.array([[x, y], [x + width - 1, y + height - 1]]), size, back)
        annotation["bbox"] = [*corners.min(axis=0).tolist(), *(np.ptp(corners, axis=0) + 1).tolist()]
        keypoints = np.reshape(annotation["keypoints"], (-1, 3))
        keypoints[:, :2] = turn_points(keypoints[:, :2], size, back)
        annotation["keypoints"] = keypoints.ravel().tolist()
        for row in annotation["keypoints_cam"]:
            if row[0] is not None:
                row[:2] = {3: (-row[0], -row[1]), 6: (row[1], -row[0]), 8: (-row[1], row[0])}[orientation]
        centre = turn_points(np.array([cx, cy]), size, back).tolist()
        if orientation != UPSIDE_DOWN:
            fx, fy = fy, fx
            image.update(width=HEIGHT, height=WIDTH)
        image["intrinsic"] = [fx, fy, *centre]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    write_coco(tmp_path / "plain")
    return tmp_path / "plain"


@pytest.fixture
def folder(plain: Path) -> Path:
    """A copy of the plain one, to be turned."""
    return Path(shutil.copytree(plain, plain.with_name("turned")))


def assert_same(dataset: Dataset, plain: Dataset) -> None:
    for index in range(len(plain)):
        sample, expected = dataset.sample(index), plain.sample(index)
        assert np.abs(sample.crop.astype(int) - expected.crop).mean() < 0.5
        np.testing.assert_allclose(sample.box, expected.box, atol=1e-6)
        np.testing.assert_allclose(sample.joints_px, expected.joints_px, atol=1e-6)
        assert sample.joints_mm is not None
        assert expected.joints_mm is not None
        np.testing.assert_allclose(sample.joints_mm, expected.joints_mm, atol=1e-6)
        assert sample.camera is not None
        joints_cam = np.nan_to_num(expected.joints_mm) + np.array([0, 0, 5000])
        assert expected.camera is not None
        np.testing.assert_allclose(sample.camera.project(joints_cam), expected.camera.project(joints_cam), atol=1e-6)


@pytest.mark.parametrize("orientation", BACK)
def test_annotations_in_stored_pixels_are_turned_with_the_image(plain: Path, folder: Path, orientation: int) -> None:
    turn_files(folder, orientation)
    edit(folder / "annotations.json", lambda document: annotate_stored(document, orientation))
    dataset = opened(folder, "stored")
    assert_same(dataset, opened(plain))
    assert dataset.identity["pixels"] == "stored"


@pytest.mark.parametrize("orientation", [*BACK, 2])
def test_annotations_in_shown_pixels_fit_the_image_as_it_is_shown(plain: Path, folder: Path, orientation: int) -> None:
    turn_files(folder, orientation)
    assert_same(opened(folder, "shown"), opened(plain))


def test_sizes_of_quarter_turned_images_tell_for_all_images(plain: Path, folder: Path) -> None:
    turn_files(folder, UPSIDE_DOWN)
    turn_files(folder, CLOCKWISE, count=1)
    dataset = opened(folder)
    assert any("refer to shown pixels, as the annotated sizes show" in note for note in dataset.notes)
    assert_same(dataset, opened(plain))
    shutil.copytree(plain, folder, dirs_exist_ok=True)
    turn_files(folder, COUNTER_CLOCKWISE)
    edit(folder / "annotations.json", lambda document: annotate_stored(document, COUNTER_CLOCKWISE))
    assert_same(opened(folder), opened(plain))


def test_sizes_that_tell_nothing_are_refused(folder: Path) -> None:
    turn_files(folder, UPSIDE_DOWN, count=1)
    with pytest.raises(BadInput, match=r"stored or as shown.*1 of 3 images.*\(0\.png\); the annotated sizes fit both"):
        opened(folder)


def test_sizes_that_contradict_each_other_are_refused(folder: Path) -> None:
    turn_files(folder, CLOCKWISE)
    edit(folder / "annotations.json", lambda document: document["images"][0].update(width=HEIGHT, height=WIDTH))
    with pytest.raises(BadInput, match="contradict each other"):
        opened(folder)


def test_mirrored_images_with_annotations_in_stored_pixels_are_refused(folder: Path) -> None:
    turn_files(folder, 2)
    with pytest.raises(BadInput, match="mirrors annotated images"):
        opened(folder, "stored")


def test_a_dataset_without_orientations_needs_no_answer(plain: Path) -> None:
    dataset = opened(plain)
    assert dataset.identity["pixels"] is None
    assert "EXIF" not in json.dumps(dataset.notes)
