"""COCO-style annotations: joints by their names, in millimetres or in pixels."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets.coco import same_name
from export.common.errors import BadInput
from export.model.joint_sets import HUMAN36M, MUCO
from tests.bench.datasets.readers import Edit, coco, edit, of_coco, samples
from tests.support.tiny_datasets import COCO_KEYPOINTS, COCO_NAMES, write_coco


def test_coco_joints_are_matched_by_name(written: dict[str, Any]) -> None:
    folder, truths = written["COCO"]
    dataset = coco(folder)
    assert [sample.name for sample in samples(dataset)] == list(truths)
    assert [HUMAN36M.joints[j] for j in dataset.counted] == [name for name in HUMAN36M.joints if name in COCO_NAMES]
    assert "annotated joints that the network does not have: left_ear, right_ear" in dataset.notes
    assert "joints of the network that are not annotated, and not counted: Torso, Neck, Thorax" in dataset.notes
    assert dataset.published is None
    assert dataset.name == f"{folder} (COCO-style)"


@pytest.mark.parametrize(
    ("one", "other"),
    [("R_Hip", "right_hip"), ("R_Hip", "rhip"), ("R_Hip", "RightHip"), ("Head_top", "head top"), ("L_Toe", "LEFT-TOE")],
)
def test_spellings_of_one_joint_are_one(one: str, other: str) -> None:
    assert same_name(one) == same_name(other)


@pytest.mark.parametrize("joints", [HUMAN36M, MUCO], ids=lambda joints: joints.name)
def test_names_of_different_joints_stay_different(joints: Any) -> None:
    assert len({same_name(name) for name in joints.joints}) == len(joints.joints)


@of_coco
def test_coco_joints_with_a_zero_are_not_annotated(folder: Path) -> None:
    wrist = COCO_KEYPOINTS.index("RWrist")
    edit(folder / "annotations.json", lambda d: d["annotations"][0]["keypoints"].__setitem__(3 * wrist + 2, 0))
    edit(folder / "annotations.json", lambda d: d["annotations"][1]["keypoints"].__setitem__(3 * wrist + 2, 1))
    first, second, _ = samples(coco(folder))
    number = HUMAN36M.joints.index("R_Wrist")
    assert not first.annotated[number]
    assert first.joints_mm is not None
    assert np.isnan(first.joints_px[number]).all()
    assert np.isnan(first.joints_mm[number]).all()
    assert second.annotated[number]


def test_coco_without_millimetres_is_evaluated_in_pixels(tmp_path: Path) -> None:
    truths = write_coco(tmp_path, in_mm=False)
    for sample in samples(coco(tmp_path)):
        assert sample.joints_mm is None
        assert sample.camera is None
        assert sample.root_depth_mm is None
        truth = truths[sample.name]
        pixels = truth.camera.project(truth.joints_cam)
        np.testing.assert_allclose(sample.joints_px[sample.annotated], pixels[sample.annotated])


@of_coco
def test_coco_images_may_lie_beside_the_annotations_or_in_folders(folder: Path) -> None:
    (folder / "images" / "0.png").rename(folder / "0.png")
    (folder / "images" / "deep").mkdir()
    (folder / "images" / "1.png").rename(folder / "images" / "deep" / "1.png")
    edit(folder / "annotations.json", lambda document: document["images"][1].update(file_name="deep\\1.png"))
    edit(folder / "annotations.json", lambda document: document["images"][2].update(file_name="images/2.png"))
    (folder / "annotations").mkdir()
    (folder / "annotations.json").rename(folder / "annotations" / "val.json")
    assert len(samples(coco(folder))) == 3
    shutil.copy(folder / "annotations" / "val.json", folder / "annotations" / "train.json")
    with pytest.raises(BadInput, match=r"train\.json, val\.json"):
        coco(folder)


def no_pelvis(annotation: dict[str, Any]) -> None:
    annotation["keypoints"][3 * COCO_KEYPOINTS.index("pelvis") + 2] = 0


@of_coco
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(iscrowd=1), "marked as a crowd"),
        (lambda a: a.pop("bbox"), "without a box"),
        (lambda a: a.update(bbox=[0, 0, 10, 0]), "their box has no area inside the image"),
        (lambda a: a.pop("keypoints"), "without keypoints"),
        (lambda a: a.update(keypoints=[0] * len(a["keypoints"])), "none of their joints is annotated"),
        (lambda a: a.update(category_id=7), "of a category without joints"),
        (no_pelvis, "their pelvis is not annotated, which millimetres are relative to"),
    ],
)
def test_coco_people_who_cannot_be_evaluated_are_left_out(folder: Path, change: Edit, reason: str) -> None:
    edit(folder / "annotations.json", lambda document: change(document["annotations"][1]))
    dataset = coco(folder)
    assert f"1 left out, {reason}: 1.png (annotation 1)" in dataset.notes
    assert [sample.name for sample in samples(dataset)] == ["0.png (annotation 0)", "2.png (annotation 2)"]
