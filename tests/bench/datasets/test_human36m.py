"""Human3.6M: its protocols, its estimated boxes, and planted defects."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from export.common.errors import BadInput
from export.model.config import Claim
from export.model.joint_sets import HUMAN36M
from tests.bench.datasets.readers import VOLUMES, Document, Edit, edit, human36m, located, of_human36m, samples
from tests.support.tiny_datasets import write_human36m, write_human36m_estimates


def test_human36m_is_every_64th_frame_of_the_protocols_subjects(written: dict[str, Any]) -> None:
    folder, truths = written["Human3.6M"]
    for protocol, subjects, published in ((1, ("s_11",), "pa_mpjpe_mm"), (2, ("s_09", "s_11"), "mpjpe_mm")):
        dataset = human36m(folder, protocol)  # type: ignore[arg-type]
        names = [sample.name for sample in samples(dataset)]
        assert names == [name for name in truths if name.startswith(subjects) and not name.endswith("000002.jpg")]
        assert len(names) == 2 * 15 * len(subjects)
        assert dataset.name == f"Human3.6M, protocol {protocol}"
        assert dataset.published == published
        assert published in Claim.model_fields


def test_human36m_frames_count_from_zero(tmp_path: Path) -> None:
    write_human36m(tmp_path, subjects=(11,), frames=(63, 64, 65, 127, 128), actions=(2,))
    assert [sample.name[-10:-4] for sample in samples(human36m(tmp_path, 1))] == ["000065", "000129"]


def test_human36m_joints_are_seen_where_opencv_sees_them(written: dict[str, Any]) -> None:
    folder, truths = written["Human3.6M"]
    for sample in samples(human36m(folder)):
        truth = truths[sample.name]
        matrix = np.array([[truth.camera.fx, 0, truth.camera.cx], [0, truth.camera.fy, truth.camera.cy], [0, 0, 1]])
        turn = cv2.Rodrigues(truth.rotation)[0]
        seen, _ = cv2.projectPoints(truth.world, turn, truth.translation, matrix, None)
        np.testing.assert_allclose(sample.joints_px[:17], seen[:, 0], atol=1e-4)


def test_human36m_thorax_is_between_the_shoulders_and_not_counted(written: dict[str, Any]) -> None:
    dataset = human36m(written["Human3.6M"][0])
    left, right, thorax = (HUMAN36M.joints.index(name) for name in ("L_Shoulder", "R_Shoulder", "Thorax"))
    assert thorax == 17
    assert dataset.counted == tuple(range(17))
    sample = dataset.sample(3)
    assert sample.annotated.all()
    assert sample.joints_mm is not None
    np.testing.assert_allclose(sample.joints_mm[thorax], (sample.joints_mm[left] + sample.joints_mm[right]) / 2)


@of_human36m
def test_human36m_estimated_boxes_and_depths_are_used_as_they_are(folder: Path) -> None:
    before = human36m(folder)
    assert any("bbox_root/bbox_root_human36m_output.json" in note for note in before.notes)
    boxes = write_human36m_estimates(folder, depth_mm=4321.0)
    dataset = human36m(folder)
    assert not dataset.notes
    assert dataset.identity != before.identity
    by_name: dict[str, Any] = {}
    for path in (folder / "annotations").glob("*_data.json"):
        by_name |= {image["file_name"]: boxes[image["id"]] for image in json.loads(path.read_text())["images"]}
    for index, sample in enumerate(samples(dataset)):
        assert sample.box == pytest.approx(by_name[sample.name], abs=1e-12)
        assert sample.root_depth_mm == 4321.0
        truth = before.sample(index).joints_mm
        assert sample.joints_mm is not None
        assert truth is not None
        np.testing.assert_array_equal(sample.joints_mm, truth)
        # Seen at the wrong distance, the same pixels mean a larger or a smaller person; depths keep their differences.
        found = located(dataset, sample, VOLUMES[0])
        np.testing.assert_allclose(found[:, 2], truth[:, 2], atol=1e-6)
        assert np.abs(found - truth).max() > 1


@of_human36m
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.__delitem__(slice(3, None)), "belongs to other images.*no entry for image 100"),
        (lambda d: d[0].update(bbox=[1, 2, 0, 4]), r"0\.bbox\.2: Input should be greater than 0"),
        (lambda d: d[0].update(root_cam=[1, 2, -4]), r"0\.root_cam\.2: Input should be greater than 0"),
        (lambda d: [entry.update(bbox=[0, 0, 20, 20]) for entry in d], "contradict themselves"),
    ],
)
def test_human36m_wrong_estimates_are_refused(folder: Path, change: Edit, message: str) -> None:
    write_human36m_estimates(folder, depth_mm=4321.0)
    edit(folder / "bbox_root" / "bbox_root_human36m_output.json", change)
    with pytest.raises(BadInput, match=message):
        human36m(folder)


def each_camera(**fields: object) -> Edit:
    return lambda document: [camera.update(fields) for camera in document.values()]


def as_position(document: Document) -> None:
    """As files of an earlier release have it: camera = R·(world − t)."""
    for camera in document.values():
        camera["t"] = (-np.array(camera["R"]).T @ camera["t"]).tolist()


@of_human36m
@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("joint_3d", lambda d: d["2"]["1"]["0"].pop(), r"s_11_act_02.*wrong size.*16×3 numbers.*expected 17×3"),
        ("joint_3d", lambda d: d["2"]["1"]["0"][3].pop(), "no array of numbers.*expected 17×3"),
        ("joint_3d", lambda d: d["2"]["1"]["0"].__setitem__(3, [1, float("nan"), 2]), "no finite number"),
        ("joint_3d", lambda d: d["2"]["1"]["0"].__setitem__(3, [1, 10**400, 2]), "no array of numbers"),
        ("joint_3d", lambda d: d["2"]["1"].pop("64"), "no action 2, subaction 1, frame 64, which s_11_act_02"),
        ("camera", lambda d: d.pop("1"), "no camera 1, which s_11"),
        ("camera", lambda d: d["1"].pop("R"), r"1\.R: Field required"),
        ("camera", each_camera(t=[0, 0, -5000]), "a joint lies behind the camera"),
        ("camera", each_camera(c=[900, 900]), "for 30 of 30 people the camera sees the joints outside the box"),
        ("camera", as_position, r"behind the camera|camera = R·world \+ t is expected"),
        ("data", lambda d: d["images"][0].update(subject=9), "contains another subject than 11"),
        ("data", lambda d: d["images"][0].update(action_idx=17), r"images\.0\.action_idx"),
    ],
)
def test_human36m_planted_defects_are_refused(folder: Path, part: str, change: Edit, message: str) -> None:
    edit(folder / "annotations" / f"Human36M_subject11_{part}.json", change)
    with pytest.raises(BadInput, match=message):
        human36m(folder, 1)


@of_human36m
def test_human36m_needs_the_files_of_its_subjects_alone(folder: Path) -> None:
    (folder / "annotations" / "Human36M_subject9_camera.json").unlink()
    assert len(human36m(folder, 1)) == 30
    with pytest.raises(BadInput, match=r"subject9_camera\.json is missing"):
        human36m(folder, 2)


@of_human36m
def test_a_few_contradictions_are_a_note(folder: Path) -> None:
    path = folder / "annotations" / "Human36M_subject11_data.json"
    edit(path, lambda document: document["annotations"][0].update(bbox=[0, 0, 20, 20]))
    dataset = human36m(folder, 1)
    assert len(dataset) == 30
    assert any(re.match("1 people's joints lie outside their box.*s_11_act_02", note) for note in dataset.notes)


@of_human36m
def test_human36m_the_last_estimate_of_an_image_counts(folder: Path) -> None:
    write_human36m_estimates(folder, depth_mm=4321.0)
    path = folder / "bbox_root" / "bbox_root_human36m_output.json"
    edit(path, lambda document: document.append({**document[0], "root_cam": [0, 0, 4000]}))
    assert [sample.root_depth_mm for sample in samples(human36m(folder, 1))[:2]] == [4000, 4321]
