"""MuPoTS-3D: valid people, their detections, and planted defects."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets.mupots import iou
from export.common.errors import BadInput
from export.model.joint_sets import MUCO
from export.model.pose import crop_box
from tests.bench.datasets.readers import Edit, edit, mupots, of_mupots, samples
from tests.support.tiny_datasets import HEIGHT, WIDTH, write_json


def test_mupots_has_17_joints_of_valid_people(written: dict[str, Any]) -> None:
    folder, truths = written["MuPoTS"]
    dataset = mupots(folder)
    assert [sample.name for sample in samples(dataset)] == list(truths)
    assert len(dataset) == 4
    assert any(note.startswith("2 left out, marked as not valid: TS1/img_000000.jpg") for note in dataset.notes)
    assert dataset.joint_set == MUCO
    assert dataset.counted == tuple(range(17))
    assert dataset.root == 14
    assert dataset.published is None
    assert all(sample.annotated.sum() == 17 and sample.annotated[:17].all() for sample in samples(dataset))


def detections(folder: Path, keep: Callable[[dict[str, Any]], bool] = lambda annotation: True) -> list[dict[str, Any]]:
    """Everybody a little off, in another order, and somebody who is not there."""
    entries = []
    for annotation in json.loads((folder / "data" / "MuPoTS-3D.json").read_text())["annotations"]:
        x, y, edge, _ = crop_box(annotation["bbox"], WIDTH, HEIGHT)
        if keep(annotation):
            box, root = [x + 2, y - 3, edge * 1.02, edge * 1.02], annotation["keypoints_cam"][14]
            entry = {
                "image_id": annotation["image_id"],
                "bbox": box,
                "root_cam": [*root[:2], root[2] + 10],
                "score": 0.9,
            }
            entries.append(entry)
    entries.append({"image_id": 0, "bbox": [0, 0, 30, 30], "root_cam": [0, 0, 9000], "score": 0.1})
    return entries[::-1]


@of_mupots
@pytest.mark.parametrize("file", ["bbox_mupots_output.json", "bbox_root_mupots_output.json"])
def test_mupots_people_are_detected_by_the_box_that_is_theirs(folder: Path, file: str) -> None:
    before = samples(mupots(folder))
    write_json(folder / "bbox_root" / file, detections(folder))
    for opened in (mupots(folder), mupots(folder / "data")):
        after = samples(opened)
        assert [sample.name for sample in after] == [sample.name for sample in before]
        for sample, true in zip(after, before, strict=True):
            x, y, edge, _ = true.box
            assert sample.box == pytest.approx((x + 2, y - 3, edge * 1.02, edge * 1.02))
            assert true.root_depth_mm is not None
            assert sample.root_depth_mm == pytest.approx(true.root_depth_mm + 10)
            assert sample.joints_mm is not None
            np.testing.assert_array_equal(sample.joints_mm, true.joints_mm)
        assert list(opened.identity["files"]) == ["MuPoTS-3D.json", file]


@of_mupots
def test_mupots_people_who_were_not_detected_are_left_out(folder: Path) -> None:
    write_json(folder / "bbox_root" / "bbox_mupots_output.json", detections(folder, lambda person: person["id"] != 10))
    dataset = mupots(folder)
    assert len(dataset) == 3
    assert "1 left out, not detected in bbox_mupots_output.json: TS2/img_000000.jpg (annotation 10)" in dataset.notes


@of_mupots
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["annotations"][0]["keypoints_cam"].append([0, 0, 1]),
            r"annotation 0\): keypoints_cam.*18×3.*17×3",
        ),
        (lambda d: d["annotations"][0].update(keypoints_img=[[0, 0]] * 21), "keypoints_img.*21×2.*17×2"),
        (lambda d: d["annotations"][0].pop("is_valid"), r"annotations\.0\.is_valid: Field required"),
        (lambda d: d["images"][0]["intrinsic"].pop(), r"images\.0\.intrinsic\.3: Field required"),
        (lambda d: d["images"][0].update(intrinsic=[0, 1, 2, 3]), r"images\.0\.intrinsic\.0.*greater than 0"),
        (lambda d: [i.update(intrinsic=[1500, 1500, 120, 100]) for i in d["images"]], "contradict themselves"),
        (lambda d: [a.update(is_valid=0) for a in d["annotations"]], "nobody.*6 left out, marked as not valid"),
    ],
)
def test_mupots_planted_defects_are_refused(folder: Path, change: Edit, message: str) -> None:
    edit(folder / "data" / "MuPoTS-3D.json", change)
    with pytest.raises(BadInput, match=message):
        mupots(folder)


def test_overlap_of_known_boxes() -> None:
    found = iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 2, 2], [2, 2, 1, 1], [0, 0, 1, 2]]))
    np.testing.assert_allclose(found, [[1 / 3, 0, 1 / 2]])
