"""Human3.6M as the released evaluation reads it: its test subjects, every 64th frame.

Source of the layout, of the protocols and of the camera: the released code (data/Human36M/Human36M.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter
from pydantic.types import FailFast

from bench.datasets.annotations import NO_AREA, Layout, LeftOut, PixelCount, numbers, paired, read_json
from bench.datasets.images import Images
from bench.datasets.people import AnnotatedPeople, Person, located_person, photographs
from bench.datasets.roots import Estimate, read_estimates
from export.common.errors import BadInput
from export.model.joint_sets import HUMAN36M
from export.model.pose import Array, Box, Camera, crop_box

ProtocolNumber = Literal[1, 2]

SUBJECTS: dict[ProtocolNumber, tuple[int, ...]] = {1: (11,), 2: (9, 11)}
PUBLISHED: dict[ProtocolNumber, str] = {1: "pa_mpjpe_mm", 2: "mpjpe_mm"}
EVERY_FRAME = 64
"""Of the test subjects' frames every 64th is evaluated."""
ACTIONS = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting"),
    *("SittingDown", "Smoking", "Photo", "Waiting", "Walking", "WalkDog", "WalkTogether"),
)
FIRST_ACTION = 2
"""Number of the first of the actions."""
ANNOTATED_JOINTS = 17
"""All but the thorax, which is put between the shoulders and not counted."""

EXPECTED = (
    "annotations/Human36M_subject{S}_data.json, _camera.json and _joint_3d.json of each test subject, the images in "
    "images/s_09_act_02_subact_01_ca_01/ and so on, and, if you have it, bbox_root/bbox_root_human36m_output.json"
)

_ROOT, _LEFT, _RIGHT = (HUMAN36M.joints.index(name) for name in ("Pelvis", "L_Shoulder", "R_Shoulder"))

Vector3 = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Vector2 = tuple[FiniteFloat, FiniteFloat]


@dataclass(frozen=True, slots=True)
class _Image:
    id: int
    file_name: str
    width: PixelCount
    height: PixelCount
    subject: int
    action_idx: Annotated[int, Field(ge=FIRST_ACTION, lt=FIRST_ACTION + len(ACTIONS))]
    subaction_idx: int
    cam_idx: int
    frame_idx: int


@dataclass(frozen=True, slots=True)
class _Annotation:
    image_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


@dataclass(frozen=True, slots=True)
class _Data:
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]


@dataclass(frozen=True, slots=True)
class _Camera:
    R: tuple[Vector3, Vector3, Vector3]
    t: Vector3
    f: Vector2
    c: Vector2


_DATA = TypeAdapter(_Data)
_CAMERAS: TypeAdapter[dict[str, _Camera]] = TypeAdapter(dict[str, _Camera])
_JOINTS: TypeAdapter[dict[str, dict[str, dict[str, Any]]]] = TypeAdapter(dict[str, dict[str, dict[str, Any]]])


@dataclass(frozen=True)
class _Subject:
    """One subject's files."""

    number: int
    data: Path
    camera: Path
    joints: Path


def open_human36m(folder: Path, protocol: ProtocolNumber, input_size: int) -> AnnotatedPeople:
    """Human3.6M in ``folder``, as protocol 1 (subject 11) or 2 (subjects 9 and 11) tests it.

    Where ``bbox_root/bbox_root_human36m_output.json`` is there, its boxes are the crops and its root depths place the
    predictions; otherwise the annotated boxes and true depths do.

    Raises:
        BadInput: another layout, a file that is damaged or lacks something, or no image of all that are annotated.
    """
    layout = Layout("Human3.6M", folder, EXPECTED)
    subjects = [_subject(layout, number) for number in SUBJECTS[protocol]]
    images = Images(layout, layout.require(folder / "images"))
    left_out = LeftOut()
    files = [file for subject in subjects for file in (subject.data, subject.camera, subject.joints)]
    estimates, notes = None, list[str]()
    estimates_path = folder / "bbox_root" / "bbox_root_human36m_output.json"
    if estimates_path.exists():
        estimates = _Estimates(estimates_path, read_estimates(estimates_path))
        files.append(estimates_path)
    else:
        notes = [f"without {layout.relative(estimates_path)}: annotated boxes and true root depths are used"]
    people = [person for subject in subjects for person in _people(subject, images, estimates, left_out)]
    return photographs(
        layout,
        f"Human3.6M, protocol {protocol}",
        HUMAN36M,
        range(ANNOTATED_JOINTS),
        people,
        images=images,
        left_out=left_out,
        files=files,
        input_size=input_size,
        protocol=protocol,
        published=PUBLISHED[protocol],
        notes=notes,
    )


def camera_joints(world: Array, rotation: Array, translation: Array) -> Array:
    """(17, 3) joints in the world's coordinates → (18, 3) with the thorax, in the camera's: R·world + t, all in mm."""
    thorax = (world[_LEFT] + world[_RIGHT]) / 2
    joints: Array = np.vstack([world, thorax]) @ rotation.T + translation
    return joints


@dataclass(frozen=True)
class _Estimates:
    path: Path
    of_image: dict[int, list[Estimate]]

    def of(self, image: _Image) -> Estimate:
        """The last one of the image, as in the released code."""
        found = self.of_image.get(image.id)
        if not found:
            raise BadInput(
                f"{self.path} belongs to other images",
                f"it has no entry for image {image.id} ({image.file_name})",
                "use the file of this protocol, or take it away: annotated boxes and true depths are used then",
            )
        return found[-1]


def _subject(layout: Layout, number: int) -> _Subject:
    stem = f"Human36M_subject{number}"
    data, camera, joints = (
        layout.require(layout.folder / "annotations" / f"{stem}_{part}.json") for part in ("data", "camera", "joint_3d")
    )
    return _Subject(number, data, camera, joints)


def _people(subject: _Subject, images: Images, estimates: _Estimates | None, left_out: LeftOut) -> Iterator[Person]:
    cameras = read_json(subject.camera, _CAMERAS)
    joints = read_json(subject.joints, _JOINTS)
    data = read_json(subject.data, _DATA)
    for image, annotation in paired(data.images, data.annotations, subject.data):
        if image.subject != subject.number:
            seen = f"image {image.file_name} of subject {image.subject}"
            raise BadInput(f"{subject.data} is not subject {subject.number}'s alone", seen, "use the released file")
        if image.frame_idx % EVERY_FRAME:
            continue
        path = images.find(image.file_name)
        if path is None:
            continue
        root_depth_mm = None
        if estimates is None:
            try:
                box: Box = crop_box(annotation.bbox, image.width, image.height)
            except BadInput:
                left_out.add(NO_AREA, image.file_name)
                continue
        else:
            estimate = estimates.of(image)
            box, root_depth_mm = estimate.bbox, estimate.root_depth_mm
        camera = cameras.get(str(image.cam_idx))
        if camera is None:
            raise _lacks(subject.camera, f"camera {image.cam_idx}", image)
        frame = _frame(subject, joints, image)
        world = numbers(frame, (ANNOTATED_JOINTS, 3), f"{image.file_name}: its entry in joint_3d")
        yield located_person(
            image.file_name,
            path,
            (image.width, image.height),
            box,
            camera_joints(world, np.array(camera.R), np.array(camera.t)),
            Camera(*camera.f, *camera.c),
            _ROOT,
            root_depth_mm=root_depth_mm,
            group=ACTIONS[image.action_idx - FIRST_ACTION],
        )


def _frame(subject: _Subject, joints: dict[str, dict[str, dict[str, Any]]], image: _Image) -> Any:
    try:
        return joints[str(image.action_idx)][str(image.subaction_idx)][str(image.frame_idx)]
    except KeyError as error:
        frame = f"action {image.action_idx}, subaction {image.subaction_idx}, frame {image.frame_idx}"
        raise _lacks(subject.joints, frame, image) from error


def _lacks(path: Path, what: str, image: _Image) -> BadInput:
    seen = f"no {what}, which {image.file_name} needs"
    return BadInput(f"{path} is incomplete", seen, "download it again; the files of one subject belong together")
