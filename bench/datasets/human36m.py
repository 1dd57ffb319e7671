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

from bench.datasets.images import Pixels
from bench.datasets.people import AnnotatedPeople, Person, pelvis
from bench.datasets.source import NO_AREA, PixelCount, Positive, Source, numbers, with_images
from export.common.errors import BadInput
from export.model.camera import Array, Camera
from export.model.joint_sets import HUMAN36M
from export.runtime.pose import crop_box

ProtocolNumber = Literal[1, 2]

SUBJECTS: dict[ProtocolNumber, tuple[int, ...]] = {1: (11,), 2: (9, 11)}
PUBLISHED: dict[ProtocolNumber, str] = {1: "pa_mpjpe_mm", 2: "mpjpe_mm"}
PARTS = ("data", "camera", "joint_3d")
"""Annotation files of a subject."""
EVERY_FRAME = 64
"""Interval of the evaluated frames."""
ACTIONS = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting"),
    *("SittingDown", "Smoking", "Photo", "Waiting", "Walking", "WalkDog", "WalkTogether"),
)
FIRST_ACTION = 2
"""Number of the first action."""
ANNOTATED_JOINTS = 17
"""All but the thorax, which is computed from the shoulders and not counted."""

EXPECTED = (
    "annotations/Human36M_subject{S}_data.json, _camera.json and _joint_3d.json of each test subject, the images in "
    "images/s_09_act_02_subact_01_ca_01/ and so on, and, if you have it, bbox_root/bbox_root_human36m_output.json"
)

_LEFT, _RIGHT = (HUMAN36M.joints.index(name) for name in ("L_Shoulder", "R_Shoulder"))

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


@dataclass(frozen=True, slots=True)
class _Estimate:
    """One person, detected by other networks."""

    image_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, Positive, Positive]
    """x, y, width, height in pixels of the image: already square and enlarged."""
    root_cam: tuple[FiniteFloat, FiniteFloat, Positive]
    """Root joint in the camera's coordinates, in mm."""


_DATA = TypeAdapter(_Data)
_ESTIMATES: TypeAdapter[list[_Estimate]] = TypeAdapter(Annotated[list[_Estimate], FailFast()])
_CAMERAS: TypeAdapter[dict[str, _Camera]] = TypeAdapter(dict[str, _Camera])

Joints = dict[str, dict[str, dict[str, Any]]]
"""Action, subaction, frame → (17, 3) joints in the world's coordinates."""
_JOINTS: TypeAdapter[Joints] = TypeAdapter(Joints)


def open_human36m(
    folder: Path, protocol: ProtocolNumber, input_size: int, pixels: Pixels | None = None
) -> AnnotatedPeople:
    """Open Human3.6M for protocol 1 (subject 11) or 2 (subjects 9 and 11).

    If ``bbox_root/bbox_root_human36m_output.json`` exists, its boxes are the crops and its root depths locate the
    predictions; otherwise the annotated boxes and true depths do.

    Raises:
        BadInput: another layout, a file that is damaged or lacks something, or all annotated images are missing.
    """
    source = Source("Human3.6M", folder, EXPECTED, [folder / "images"])
    for subject in SUBJECTS[protocol]:
        for part in PARTS:
            source.require(_file(source, subject, part))
    source.require(folder / "images")
    path = folder / "bbox_root" / "bbox_root_human36m_output.json"
    estimates: dict[int, _Estimate] | None = None
    notes = tuple[str, ...]()
    if path.exists():  # of several estimates of one image the last counts, as in the released code
        estimates = {estimate.image_id: estimate for estimate in source.read(path, _ESTIMATES)}
    else:
        notes = (f"without {source.relative(path)}: annotated boxes and true root depths are used",)
    return AnnotatedPeople(
        source=source,
        name=f"Human3.6M, protocol {protocol}",
        joint_set=HUMAN36M,
        counted=tuple(range(ANNOTATED_JOINTS)),
        people=[person for subject in SUBJECTS[protocol] for person in _people(source, subject, path, estimates)],
        input_size=input_size,
        pixels=pixels,
        protocol=protocol,
        published=PUBLISHED[protocol],
        notes=notes,
    )


def camera_joints(world: Array, rotation: Array, translation: Array) -> Array:
    """Return (18, 3) joints with the thorax in the camera's coordinates, from (17, 3) in the world's, all in mm."""
    thorax = (world[_LEFT] + world[_RIGHT]) / 2
    joints: Array = np.vstack([world, thorax]) @ rotation.T + translation
    return joints


def _file(source: Source, subject: int, part: str) -> Path:
    return source.folder / "annotations" / f"Human36M_subject{subject}_{part}.json"


def _people(
    source: Source, subject: int, estimates_path: Path, estimates: dict[int, _Estimate] | None
) -> Iterator[Person]:
    data_path, camera_path, joints_path = (_file(source, subject, part) for part in PARTS)
    cameras, joints = source.read(camera_path, _CAMERAS), source.read(joints_path, _JOINTS)
    data = source.read(data_path, _DATA)
    for image, annotation in with_images(data.images, data.annotations, data_path):
        if image.subject != subject:
            detail = f"image {image.file_name} of subject {image.subject}"
            raise BadInput(f"{data_path} contains another subject than {subject}", detail, "use the released file")
        if image.frame_idx % EVERY_FRAME or (path := source.find_image(image.file_name)) is None:
            continue
        estimate = None if estimates is None else _estimate_of(estimates_path, estimates, image)
        try:
            box = crop_box(annotation.bbox, image.width, image.height) if estimate is None else estimate.bbox
        except BadInput:
            source.leave_out(image.file_name, NO_AREA)
            continue
        camera = cameras.get(str(image.cam_idx))
        if camera is None:
            raise _incomplete(camera_path, f"camera {image.cam_idx}", image)
        world = numbers(
            _frame(joints_path, joints, image), (ANNOTATED_JOINTS, 3), f"{image.file_name}: its entry in joint_3d"
        )
        yield Person(
            name=image.file_name,
            image=path,
            image_size=(image.width, image.height),
            box=box,
            root=pelvis(HUMAN36M),
            annotated=np.ones(len(HUMAN36M.joints), np.bool_),
            joints_cam=camera_joints(world, np.array(camera.R), np.array(camera.t)),
            camera=Camera(*camera.f, *camera.c),
            root_depth_mm=None if estimate is None else estimate.root_cam[2],
            group=ACTIONS[image.action_idx - FIRST_ACTION],
        )


def _estimate_of(path: Path, estimates: dict[int, _Estimate], image: _Image) -> _Estimate:
    """Return the estimate of the image."""
    if image.id not in estimates:
        raise BadInput(
            f"{path} belongs to other images",
            f"it has no entry for image {image.id} ({image.file_name})",
            "use the file of this protocol, or remove it to use annotated boxes and true depths",
        )
    return estimates[image.id]


def _frame(path: Path, joints: Joints, image: _Image) -> Any:
    try:
        return joints[str(image.action_idx)][str(image.subaction_idx)][str(image.frame_idx)]
    except KeyError as error:
        frame = f"action {image.action_idx}, subaction {image.subaction_idx}, frame {image.frame_idx}"
        raise _incomplete(path, frame, image) from error


def _incomplete(path: Path, part: str, image: _Image) -> BadInput:
    detail = f"no {part}, which {image.file_name} needs"
    return BadInput(f"{path} is incomplete", detail, "download it again; the files of one subject belong together")
