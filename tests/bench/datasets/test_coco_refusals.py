"""COCO-style annotations with contradictions or other joints."""

from pathlib import Path

import pytest

from export.common.errors import BadInput
from tests.bench.datasets.readers import Document, Edit, coco, edit, of_coco
from tests.bench.datasets.test_coco import no_pelvis
from tests.support.tiny_datasets import COCO_KEYPOINTS, COCO_NAMES


def no_pelvis_at_all(document: Document) -> None:
    for annotation in document["annotations"]:
        no_pelvis(annotation)


def elsewhere(document: Document) -> None:
    """Pixels a box's edge away from where the camera sees the joints, which are in the box."""
    for annotation in document["annotations"]:
        annotation["keypoints"][0::3] = [x + annotation["bbox"][3] for x in annotation["keypoints"][0::3]]


def in_metres(document: Document) -> None:
    for annotation in document["annotations"]:
        annotation["keypoints_cam"] = [
            [None if value is None else value / 1000 for value in row] for row in annotation["keypoints_cam"]
        ]


def behind(document: Document) -> None:
    annotation = document["annotations"][0]
    annotation["keypoints_cam"][COCO_KEYPOINTS.index("nose")][2] = -1


def unknown(document: Document) -> None:
    document["annotations"][0]["keypoints_cam"][COCO_KEYPOINTS.index("nose")] = [None, None, None]


@of_coco
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0]["keypoints"].pop(), r"annotation 0\): keypoints has the wrong size.*50.*51"),
        (lambda d: d["annotations"][0]["keypoints_cam"].pop(), "keypoints_cam has the wrong size.*16×3.*17×3"),
        (lambda d: d["annotations"][0]["bbox"].pop(), "bbox has the wrong size.*3.*4"),
        (unknown, r"keypoints_cam has a value that is no finite number.*row 11: \[nan nan nan\]"),
        (elsewhere, "contradict themselves"),
        (behind, r"0\.png \(annotation 0\): a joint lies behind the camera.*-1 mm"),
        (in_metres, r"not in millimetres.*span 1\.\d+ mm"),
        (lambda d: [i.update(intrinsic=[1500, 1500, 120, 100]) for i in d["images"]], "contradict themselves"),
        (lambda d: [a.update(bbox=[0, 0, 20, 20]) for a in d["annotations"]], "contradict themselves"),
        (
            lambda d: d["images"][0].update(intrinsic={"focal": [1, 1]}),
            r"images\.0\.intrinsic.*princpt: Field required",
        ),
        (lambda d: d["categories"][1].pop("keypoints"), "0 of 2 categories have keypoints"),
        (lambda d: d["categories"][1]["keypoints"].__setitem__(0, "rwrist"), "names a joint twice.*rwrist"),
        (no_pelvis_at_all, "nobody to evaluate.*3 left out, their pelvis"),
    ],
)
def test_coco_planted_defects_are_refused(folder: Path, change: Edit, message: str) -> None:
    edit(folder / "annotations.json", change)
    with pytest.raises(BadInput, match=message):
        coco(folder)


@of_coco
def test_coco_joints_of_another_kind_are_refused_with_both_lists(folder: Path) -> None:
    edit(folder / "annotations.json", lambda d: d["categories"][1].update(keypoints=[f"p{i}" for i in range(17)]))
    with pytest.raises(BadInput, match=r"p0, p1, .*p16.*Pelvis, R_Hip, .*Thorax"):
        coco(folder)


@of_coco
@pytest.mark.parametrize(("matched", "accepted"), [(9, True), (8, False)])
def test_coco_needs_half_of_the_joints(folder: Path, matched: int, accepted: bool) -> None:
    kept = ["pelvis", *(name for name in COCO_NAMES.values() if name != "pelvis")][:matched]
    renamed = [name if name in kept else f"point {number}" for number, name in enumerate(COCO_KEYPOINTS)]
    edit(folder / "annotations.json", lambda document: document["categories"][1].update(keypoints=renamed))
    if accepted:
        assert len(coco(folder).counted) == matched
    else:
        with pytest.raises(BadInput, match="does not name the network's joints"):
            coco(folder)
