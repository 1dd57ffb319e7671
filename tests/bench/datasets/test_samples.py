"""What every reader says of the people in a dataset."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets.images import read_image
from export.runtime.pose import Volume, crop_box, image_to_crop
from tests.bench.datasets.readers import (
    ANNOTATIONS,
    IMAGES,
    READERS,
    SIZE,
    VOLUMES,
    edit,
    every_dataset,
    located,
    samples,
)
from tests.support.photos import write_rotated_jpeg
from tests.support.tiny_datasets import HEIGHT, PELVIS_COLOUR, WIDTH


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("volume", VOLUMES, ids=str)
def test_true_bins_lead_back_to_true_millimetres(name: str, volume: Volume, written: dict[str, Any]) -> None:
    folder, truths = written[name]
    dataset = READERS[name][1](folder)
    for sample in samples(dataset):
        truth = truths[sample.name]
        relative = (truth.joints_cam - truth.joints_cam[dataset.root])[sample.annotated]
        assert sample.joints_mm is not None
        np.testing.assert_allclose(sample.joints_mm[sample.annotated], relative, atol=1e-6)
        np.testing.assert_allclose(located(dataset, sample, volume)[sample.annotated], relative, atol=1e-6)


@pytest.mark.parametrize("name", READERS)
def test_people_are_cut_out_in_colour_where_they_are_annotated(name: str, written: dict[str, Any]) -> None:
    folder, truths = written[name]
    dataset = READERS[name][1](folder)
    for sample in samples(dataset):
        truth = truths[sample.name]
        assert sample.box == crop_box(truth.bbox, WIDTH, HEIGHT)
        assert sample.camera == truth.camera
        assert sample.root_depth_mm == pytest.approx(truth.joints_cam[dataset.root, 2])
        assert sample.crop.shape == (SIZE, SIZE, 3)
        assert sample.crop.dtype == np.uint8
        x, y = np.rint(image_to_crop(sample.joints_px, sample.box, SIZE)[dataset.root]).astype(int)
        # JPEG keeps colours at half the resolution.
        assert sample.crop[y, x].tolist() == pytest.approx(PELVIS_COLOUR, abs=60)


@pytest.mark.parametrize("name", READERS)
def test_joints_without_annotation_are_nan(name: str, written: dict[str, Any]) -> None:
    dataset = READERS[name][1](written[name][0])
    for sample in samples(dataset):
        assert sample.joints_mm is not None
        assert np.isfinite(sample.joints_px[sample.annotated]).all()
        assert np.isfinite(sample.joints_mm[sample.annotated]).all()
        assert np.isnan(sample.joints_px[~sample.annotated]).all()
        assert np.isnan(sample.joints_mm[~sample.annotated]).all()
        assert sample.annotated[list(dataset.counted)].all()


@every_dataset
def test_the_identity_is_of_the_annotations_and_of_who_is_left(
    folder: Path, name: str, tmp_path: Path, written: dict[str, Any]
) -> None:
    read = READERS[name][1]
    before = read(folder).identity
    assert before == {**read(written[name][0]).identity}
    assert before["samples"] == len(read(folder))
    assert str(tmp_path) not in json.dumps(before)

    images = sorted(
        path for path in (folder / IMAGES[name]).rglob("*_000001.jpg" if name == "Human3.6M" else "*.?[np]g")
    )
    aside = tmp_path / "aside"
    images[0].rename(aside)
    first = read(folder).identity
    aside.rename(images[0])
    images[-1].rename(aside)
    last = read(folder).identity
    assert first["samples"] == last["samples"] < before["samples"]
    assert first != last
    aside.rename(images[-1])

    with (folder / ANNOTATIONS[name]).open("a") as file:
        file.write("\n")
    assert read(folder).identity["files"] != before["files"]


@every_dataset
def test_people_without_a_box_inside_the_image_are_left_out_and_named(folder: Path, name: str) -> None:
    before = [sample.name for sample in samples(READERS[name][1](folder))]
    boxes = [[WIDTH + 5, 0, 50, 50], [0, 0, 0, 10]]
    if name == "Human3.6M":  # its second frame is not evaluated
        edit(
            folder / ANNOTATIONS[name], lambda d: [d["annotations"][2 * i].update(bbox=b) for i, b in enumerate(boxes)]
        )
    else:
        edit(folder / ANNOTATIONS[name], lambda d: [d["annotations"][i].update(bbox=b) for i, b in enumerate(boxes)])
    dataset = READERS[name][1](folder)
    left = [sample.name for sample in samples(dataset)]
    gone = [person for person in before if person not in left]
    assert len(gone) == 2
    assert f"2 left out, their box has no area inside the image: {gone[0]}, {gone[1]}" in dataset.notes


def test_the_exif_orientation_is_honoured(tmp_path: Path) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20] = (10, 200, 30)
    image = read_image(write_rotated_jpeg(tmp_path / "turned.jpg", upright), (60, 40))
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 3
