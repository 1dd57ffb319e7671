"""Readers of annotated datasets: what was written is what is read, and what is wrong is refused with its reason."""

import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.coco import open_coco, same_name
from bench.datasets.human36m import ACTIONS, ProtocolNumber, open_human36m
from bench.datasets.images import SIZE_TOLERANCE_PX, read_image
from bench.datasets.mupots import iou, open_mupots
from bench.datasets.protocol import Dataset, Sample
from export.config import Claim
from export.errors import BadInput
from export.joint_sets import HUMAN36M, MUCO, joint_set
from export.pose import Volume, crop_box, image_to_crop, locate
from tests.tiny_datasets import (
    COCO_KEYPOINTS,
    COCO_NAMES,
    HEIGHT,
    PELVIS_COLOUR,
    WIDTH,
    Truth,
    write_coco,
    write_human36m,
    write_human36m_estimates,
    write_json,
    write_mupots,
)

SIZE = 128
VOLUMES = (Volume(16, 16, SIZE), Volume(32, 64, SIZE))
Document = Any
Edit = Callable[[Document], object]


def human36m(folder: Path, protocol: ProtocolNumber = 2) -> Dataset:
    return open_human36m(folder, protocol, SIZE)


def mupots(folder: Path) -> Dataset:
    return open_mupots(folder, SIZE)


def coco(folder: Path) -> Dataset:
    return open_coco(folder, HUMAN36M, SIZE)


READERS: dict[str, tuple[Callable[[Path], dict[str, Truth]], Callable[[Path], Dataset]]] = {
    "Human3.6M": (write_human36m, human36m),
    "MuPoTS": (write_mupots, mupots),
    "COCO": (write_coco, coco),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Truth]]]:
    """Sound datasets, which no test changes."""
    folders = {name: tmp_path_factory.mktemp(name) for name in READERS}
    return {name: (folder, READERS[name][0](folder)) for name, folder in folders.items()}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest, written: dict[str, Any]) -> Path:
    """A copy to spoil; the test's parameter says of which dataset."""
    return Path(shutil.copytree(written[request.param][0], tmp_path / "dataset"))


of_human36m = pytest.mark.parametrize("folder", ["Human3.6M"], indirect=True)
of_mupots = pytest.mark.parametrize("folder", ["MuPoTS"], indirect=True)
of_coco = pytest.mark.parametrize("folder", ["COCO"], indirect=True)


def edit(path: Path, change: Edit) -> None:
    document = json.loads(path.read_text())
    change(document)
    write_json(path, document)


def samples(dataset: Dataset) -> list[Sample]:
    return [dataset.sample(index) for index in range(len(dataset))]


def located(dataset: Dataset, sample: Sample, volume: Volume) -> Any:
    """Where the joints lie, relative to the root, if a network says exactly what is true."""
    assert sample.joints_mm is not None
    assert sample.camera is not None
    assert sample.root_depth_mm is not None
    bins = volume.to_bins(image_to_crop(sample.joints_px, sample.box, SIZE), sample.joints_mm[:, 2])
    joints = locate(bins, volume, sample.box, sample.camera, sample.root_depth_mm)
    return joints - joints[dataset.root]


# ── what holds for all of them ───────────────────────────────────────────────────────────────────────────────────────


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
def test_nothing_is_said_of_joints_without_annotation(name: str, written: dict[str, Any]) -> None:
    dataset = READERS[name][1](written[name][0])
    for sample in samples(dataset):
        assert sample.joints_mm is not None
        assert np.isfinite(sample.joints_px[sample.annotated]).all()
        assert np.isfinite(sample.joints_mm[sample.annotated]).all()
        assert np.isnan(sample.joints_px[~sample.annotated]).all()
        assert np.isnan(sample.joints_mm[~sample.annotated]).all()
        assert sample.annotated[list(dataset.counted)].all()


@pytest.mark.parametrize("name", READERS)
def test_photographs_may_be_mirrored_and_are(name: str, written: dict[str, Any]) -> None:
    dataset = READERS[name][1](written[name][0])
    assert dataset.mirrors
    assert dataset.flip
    assert dataset.joint_set.joints[dataset.root] == "Pelvis"


@pytest.mark.parametrize("name", READERS)
def test_threads_read_what_one_reads(name: str, written: dict[str, Any]) -> None:
    dataset = READERS[name][1](written[name][0])
    with ThreadPoolExecutor(4) as pool:
        for index, sample in enumerate(pool.map(dataset.sample, range(len(dataset)))):
            again = dataset.sample(index)
            assert sample.name == again.name
            assert np.array_equal(sample.crop, again.crop)


ANNOTATIONS = {
    "Human3.6M": "annotations/Human36M_subject11_data.json",
    "MuPoTS": "data/MuPoTS-3D.json",
    "COCO": "annotations.json",
}
IMAGES = {"Human3.6M": "images", "MuPoTS": "data/MultiPersonTestSet", "COCO": "images"}
EVERY = [pytest.param(name, name, id=name) for name in READERS]
every_dataset = pytest.mark.parametrize(("folder", "name"), EVERY, indirect=["folder"])


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
def test_missing_images_are_counted_and_named(folder: Path, name: str) -> None:
    read = READERS[name][1]
    before = read(folder)
    names = [sample.name for sample in samples(before)]
    gone = names[0].split(" (")[0]
    (folder / IMAGES[name] / gone).unlink()
    after = read(folder)
    assert any("1 of " in note and "missing" in note and gone in note for note in after.notes)
    left = [person for person in names if not person.startswith(gone)]
    assert [sample.name for sample in samples(after)] == left


@every_dataset
def test_no_image_at_all_is_refused(folder: Path, name: str) -> None:
    shutil.rmtree(folder / IMAGES[name])
    (folder / IMAGES[name]).mkdir()
    with pytest.raises(BadInput, match=r"none of \d+ annotated images is in .*expected"):
        READERS[name][1](folder)


@every_dataset
def test_an_image_that_is_none_is_named(folder: Path, name: str) -> None:
    dataset = READERS[name][1](folder)
    path = folder / IMAGES[name] / dataset.sample(0).name.split(" (")[0]
    for content in (b"", b"no image", path.read_bytes()[:40]):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=re.escape(path.name)):
            dataset.sample(0)
    path.unlink()
    with pytest.raises(BadInput, match=re.escape(path.name)):
        dataset.sample(0)


@every_dataset
def test_an_image_of_another_size_is_refused(folder: Path, name: str) -> None:
    dataset = READERS[name][1](folder)
    path = folder / IMAGES[name] / dataset.sample(0).name.split(" (")[0]
    cv2.imwrite(str(path), np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8))
    with pytest.raises(BadInput, match=f"{WIDTH // 2}×{HEIGHT // 2} pixels, annotated {WIDTH}×{HEIGHT}"):
        dataset.sample(0)
    cv2.imwrite(str(path), np.zeros((HEIGHT - SIZE_TOLERANCE_PX, WIDTH, 3), np.uint8))
    assert dataset.sample(0).crop.max() == 0


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["no folder", "empty", "file"])
def test_another_layout_is_refused_with_what_was_expected_and_found(name: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "somewhere"
    found = {"no folder": "there is no such folder", "empty": "holds nothing", "file": "it is a file"}
    if kind == "empty":
        folder.mkdir()
    if kind == "file":
        folder.touch()
    with pytest.raises(BadInput, match=f"is missing.*{found[kind]}.*expected") as caught:
        READERS[name][1](folder)
    assert Path(ANNOTATIONS[name]).name.replace("11", "{S}") in caught.value.do


@pytest.mark.parametrize("name", READERS)
def test_the_folder_above_is_refused_and_listed(name: str, tmp_path: Path) -> None:
    READERS[name][0](tmp_path / "the dataset")
    for number in range(12):
        (tmp_path / f"zz{number:02d}").touch()
    with pytest.raises(BadInput, match=r"the folder holds the dataset/, zz00, .* and 5 more"):
        READERS[name][1](tmp_path)


@every_dataset
@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"images": [}', b"\xff\xfe{}", b"[" * 100_000], ids=lambda c: repr(c[:12])
)
def test_invalid_json_is_refused(folder: Path, name: str, content: bytes) -> None:
    path = folder / ANNOTATIONS[name]
    path.write_bytes(content)
    with pytest.raises(BadInput, match=f"{path.name} is not valid JSON"):
        READERS[name][1](folder)


@every_dataset
@pytest.mark.parametrize("document", [[], {}, None, {"images": 1, "annotations": [], "categories": []}], ids=repr)
def test_json_of_another_kind_is_refused(folder: Path, name: str, document: Document) -> None:
    write_json(folder / ANNOTATIONS[name], document)
    with pytest.raises(BadInput, match="does not hold the annotations that are expected"):
        READERS[name][1](folder)


@every_dataset
@pytest.mark.parametrize(("part", "key"), [("images", "file_name"), ("images", "width"), ("annotations", "image_id")])
def test_a_missing_key_is_named(folder: Path, name: str, part: str, key: str) -> None:
    edit(folder / ANNOTATIONS[name], lambda document: document[part][1].pop(key))
    with pytest.raises(BadInput, match=rf"{part}\.1\.{key}: Field required"):
        READERS[name][1](folder)


@every_dataset
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"][0].update(width=0), r"images\.0\.width"),
        (lambda d: d["images"][0].update(height="tall"), r"images\.0\.height.*'tall'"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), r"annotations\.0\.bbox\.2.*finite"),
        (lambda d: d["annotations"][0].update(image_id=12345), "12345, which is not the id of any"),
        (lambda d: d["images"][1].update(id=d["images"][0]["id"]), "1 image ids stand twice"),
        (lambda d: d["images"][0].update(file_name="../../secret.jpg"), "outside the dataset.*'../../secret.jpg'"),
        (lambda d: d["images"][0].update(file_name="/secret.jpg"), "outside the dataset"),
        (lambda d: d["annotations"].clear(), "nobody in .* can be judged on.*no annotations"),
    ],
)
def test_a_wrong_value_is_named(folder: Path, name: str, change: Edit, message: str) -> None:
    if name == "Human3.6M":
        (folder / "annotations" / "Human36M_subject9_data.json").write_text('{"images": [], "annotations": []}')
    edit(folder / ANNOTATIONS[name], change)
    with pytest.raises(BadInput, match=message):
        READERS[name][1](folder)


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


# ── pixels ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_exif_orientation_is_honoured(tmp_path: Path) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20] = (10, 200, 30)
    turned = cv2.rotate(cv2.cvtColor(upright, cv2.COLOR_RGB2BGR), cv2.ROTATE_90_COUNTERCLOCKWISE)
    encoded = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    # Orientation 6: turn it clockwise to see it upright.
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    app1 = b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(encoded[:2] + b"\xff\xe1" + (len(app1) + 2).to_bytes(2, "big") + app1 + encoded[2:])
    image = read_image(path, 60, 40)
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_are_read_in_colour(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "ünïcode.png"
    encoded = cv2.imencode(".png", np.full((9, 7, channels), 77, np.uint8))[1]
    path.write_bytes(encoded.tobytes())
    assert (read_image(path, 7, 9) == np.full((9, 7, 3), 77)).all()


# ── Human3.6M ────────────────────────────────────────────────────────────────────────────────────────────────────────


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


def test_human36m_tells_fifteen_actions_apart(written: dict[str, Any]) -> None:
    groups = {sample.name[5:11]: sample.group for sample in samples(human36m(written["Human3.6M"][0]))}
    assert len(groups) == len(ACTIONS) == 15
    assert groups["act_02"] == "Directions"
    assert groups["act_11"] == "Smoking"
    assert groups["act_12"] == "Photo"
    assert groups["act_15"] == "WalkDog"
    assert groups["act_16"] == "WalkTogether"


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
def test_human36m_the_last_estimate_of_an_image_counts(folder: Path) -> None:
    write_human36m_estimates(folder, depth_mm=4321.0)
    path = folder / "bbox_root" / "bbox_root_human36m_output.json"
    edit(path, lambda document: document.append({**document[0], "root_cam": [0, 0, 4000]}))
    assert [sample.root_depth_mm for sample in samples(human36m(folder, 1))[:2]] == [4000, 4321]


@of_human36m
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.__delitem__(slice(3, None)), "belongs to other images.*no entry for image 100"),
        (lambda d: d[0].update(bbox=[1, 2, 0, 4]), r"0\.bbox\.2: Input should be greater than 0"),
        (lambda d: d[0].update(root_cam=[1, 2, -4]), r"0\.root_cam\.2: Input should be greater than 0"),
        (lambda d: d[0].update(root_cam=[1, 2]), r"0\.root_cam\.2: Field required"),
        (lambda d: d[0].pop("root_cam"), r"0\.root_cam: Field required"),
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
        ("joint_3d", lambda d: d.pop("16"), "no action 16, subaction 1, frame 0"),
        ("camera", lambda d: d.pop("1"), "no camera 1, which s_11"),
        ("camera", lambda d: d["1"].pop("R"), r"1\.R: Field required"),
        ("camera", lambda d: d["1"]["t"].pop(), r"1\.t\.2: Field required"),
        ("camera", each_camera(t=[0, 0, -5000]), "a joint lies behind the camera"),
        ("camera", each_camera(c=[900, 900]), "of 30 of 30 people the camera sees the joints outside the box"),
        ("camera", as_position, r"behind the camera|camera = R·world \+ t is expected"),
        ("data", lambda d: d["images"][0].update(subject=9), "is not subject 11's alone"),
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
    with pytest.raises(BadInput, match=r"annotations/Human36M_subject9_camera\.json is missing"):
        human36m(folder, 2)


@of_human36m
def test_a_few_contradictions_are_told(folder: Path) -> None:
    path = folder / "annotations" / "Human36M_subject11_data.json"
    edit(path, lambda document: document["annotations"][0].update(bbox=[0, 0, 20, 20]))
    dataset = human36m(folder, 1)
    assert len(dataset) == 30
    assert any(re.match("1 people's joints lie outside their box.*s_11_act_02", note) for note in dataset.notes)


# ── MuPoTS ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_mupots_speaks_of_17_joints_of_valid_people(written: dict[str, Any]) -> None:
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


def test_mupots_may_be_named_by_its_inner_folder(written: dict[str, Any]) -> None:
    folder, _ = written["MuPoTS"]
    inner, outer = mupots(folder / "data"), mupots(folder)
    assert inner.identity == outer.identity
    assert [sample.name for sample in samples(inner)] == [sample.name for sample in samples(outer)]


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


boxes = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 99), st.floats(1, 99))


@given(boxes, boxes)
def test_overlap_is_of_both_alike_between_nothing_and_everything(one: Any, other: Any) -> None:
    [[there]], [[back]], [[itself]] = (
        iou(np.array([a]), np.array([b])) for a, b in ((one, other), (other, one), (one, one))
    )
    assert there == pytest.approx(back)
    assert 0 <= there <= 1 + 1e-9
    assert itself == pytest.approx(1)


def test_overlap_of_known_boxes() -> None:
    found = iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 2, 2], [2, 2, 1, 1], [0, 0, 1, 2]]))
    np.testing.assert_allclose(found, [[1 / 3, 0, 1 / 2]])


# ── COCO ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_coco_joints_are_matched_by_name_and_the_others_are_told(written: dict[str, Any]) -> None:
    folder, truths = written["COCO"]
    dataset = coco(folder)
    assert [sample.name for sample in samples(dataset)] == list(truths)
    assert [HUMAN36M.joints[j] for j in dataset.counted] == [name for name in HUMAN36M.joints if name in COCO_NAMES]
    assert "annotated joints that the network does not speak of: left_ear, right_ear" in dataset.notes
    assert "joints of the network that are not annotated, and not counted: Torso, Neck, Thorax" in dataset.notes
    assert dataset.published is None
    assert dataset.name == f"{folder.name} (COCO-style)"


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


@of_coco
def test_coco_joints_that_the_network_lacks_need_no_millimetres(folder: Path) -> None:
    assert COCO_KEYPOINTS[0] == "left_ear"
    edit(folder / "annotations.json", lambda d: d["annotations"][0]["keypoints"].__setitem__(2, 2))
    assert len(coco(folder)) == 3


def test_coco_without_millimetres_is_judged_in_pixels(tmp_path: Path) -> None:
    truths = write_coco(tmp_path, in_mm=False)
    for sample in samples(coco(tmp_path)):
        assert sample.joints_mm is None
        assert sample.camera is None
        assert sample.root_depth_mm is None
        truth = truths[sample.name]
        pixels = truth.camera.project(truth.joints_cam)
        np.testing.assert_allclose(sample.joints_px[sample.annotated], pixels[sample.annotated])


@of_coco
def test_coco_without_an_intrinsic_is_judged_in_pixels_and_told(folder: Path) -> None:
    edit(folder / "annotations.json", lambda document: document["images"][1].pop("intrinsic"))
    dataset = coco(folder)
    assert [sample.joints_mm is None for sample in samples(dataset)] == [False, True, False]
    assert any(note.startswith("1 judged in pixels only") and "1.png" in note for note in dataset.notes)


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
    with pytest.raises(BadInput, match=r"annotations/ holds train\.json, val\.json"):
        coco(folder)


def no_pelvis(annotation: dict[str, Any]) -> None:
    annotation["keypoints"][3 * COCO_KEYPOINTS.index("pelvis") + 2] = 0


@of_coco
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(iscrowd=1), "marked as a crowd"),
        (lambda a: a.pop("bbox"), "without a box"),
        (lambda a: a.update(bbox=None), "without a box"),
        (lambda a: a.update(bbox=[0, 0, 10, 0]), "their box has no area inside the image"),
        (lambda a: a.pop("keypoints"), "without keypoints"),
        (lambda a: a.update(keypoints=[0] * len(a["keypoints"])), "none of their joints is annotated"),
        (lambda a: a.update(category_id=7), "of a category without joints"),
        (no_pelvis, "their pelvis is not annotated, from which mm are counted"),
    ],
)
def test_coco_who_cannot_be_judged_is_left_out_and_named(folder: Path, change: Edit, reason: str) -> None:
    edit(folder / "annotations.json", lambda document: change(document["annotations"][1]))
    dataset = coco(folder)
    assert f"1 left out, {reason}: 1.png (annotation 1)" in dataset.notes
    assert [sample.name for sample in samples(dataset)] == ["0.png (annotation 0)", "2.png (annotation 2)"]


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
        (unknown, r"keypoints_cam holds something that is no finite number.*row 11: \[nan nan nan\]"),
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
        (lambda d: d["categories"][0].update(keypoints=["a"]), "2 of 2 categories have keypoints"),
        (lambda d: d["categories"][1]["keypoints"].__setitem__(0, "rwrist"), "names a joint twice.*rwrist"),
        (lambda d: d.pop("categories"), "categories: Field required"),
        (no_pelvis_at_all, "nobody in .* can be judged.*3 left out, their pelvis"),
    ],
)
def test_coco_planted_defects_are_refused(folder: Path, change: Edit, message: str) -> None:
    edit(folder / "annotations.json", change)
    with pytest.raises(BadInput, match=message):
        coco(folder)


@of_coco
def test_coco_joints_of_another_kind_are_refused_with_both_lists(folder: Path) -> None:
    edit(folder / "annotations.json", lambda d: d["categories"][1].update(keypoints=[f"p{i}" for i in range(17)]))
    with pytest.raises(BadInput, match=r"annotated: p0, p1, .*p16; the network's .*: Pelvis, R_Hip, .*Thorax"):
        coco(folder)


def test_coco_needs_half_of_the_joints_and_names_for_them(written: dict[str, Any]) -> None:
    folder, _ = written["COCO"]
    assert len(open_coco(folder, MUCO, SIZE).counted) == 14
    with pytest.raises(BadInput, match="does not name the joints"):
        open_coco(folder, joint_set(16), SIZE)


@of_coco
@pytest.mark.parametrize(("matched", "accepted"), [(9, True), (8, False)])
def test_coco_needs_half_of_the_joints(folder: Path, matched: int, accepted: bool) -> None:
    kept = ["pelvis", *(name for name in COCO_NAMES.values() if name != "pelvis")][:matched]
    renamed = [name if name in kept else f"point {number}" for number, name in enumerate(COCO_KEYPOINTS)]
    edit(folder / "annotations.json", lambda document: document["categories"][1].update(keypoints=renamed))
    if accepted:
        assert len(coco(folder).counted) == matched
    else:
        with pytest.raises(BadInput, match="does not name the joints"):
            coco(folder)
