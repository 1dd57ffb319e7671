"""MuPoTS-3D as the released evaluation reads it: several people an image, 17 of MuCo's 21 joints.

Source of the layout and of the joints: data/MuPoTS/MuPoTS.py in the released code of PoseNet, on which that of
ConvNeXtPose builds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import FiniteFloat, TypeAdapter
from pydantic.types import FailFast

from bench.datasets.estimates import Estimate, read_estimates
from bench.datasets.images import Pixels
from bench.datasets.people import AnnotatedPeople, Person, pelvis
from bench.datasets.source import NO_AREA, PixelCount, Positive, Source, numbers, with_images
from export.common.errors import BadInput
from export.model.joint_sets import MUCO
from export.model.pose import Array, Camera, crop_box

ANNOTATED_JOINTS = 17
"""The first of MuCo's joints; hands and toes are not annotated."""
SAME_PERSON_IOU = 0.5
"""Smallest IoU (area of the intersection over that of the union) at which two boxes are of one person."""
ESTIMATE_FILES = ("bbox_mupots_output.json", "bbox_root_mupots_output.json")
"""Names in the released instructions and in the released code."""

EXPECTED = (
    "data/MuPoTS-3D.json, the images in data/MultiPersonTestSet/TS1/ and so on, and, if you have it, "
    f"bbox_root/{ESTIMATE_FILES[0]} beside data/"
)


@dataclass(frozen=True, slots=True)
class _Image:
    id: int
    file_name: str
    width: PixelCount
    height: PixelCount
    intrinsic: tuple[Positive, Positive, FiniteFloat, FiniteFloat]


@dataclass(frozen=True, slots=True)
class _Annotation:
    id: int
    image_id: int
    is_valid: bool
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    keypoints_cam: Any
    keypoints_img: Any


@dataclass(frozen=True, slots=True)
class _Data:
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]


_DATA = TypeAdapter(_Data)


def open_mupots(folder: Path, input_size: int, pixels: Pixels | None = None) -> AnnotatedPeople:
    """Open MuPoTS-3D in ``folder``: the one that contains data/, or data/ itself.

    If ``bbox_root/bbox_mupots_output.json`` exists, each person gets the box and the root depth of the detection with
    the largest overlap, and people without a detection are left out; otherwise annotated boxes and true depths are
    used.

    Raises:
        BadInput: another layout, a file that is damaged or lacks something, or all annotated images are missing.
    """
    data = folder if (folder / "MuPoTS-3D.json").exists() else folder / "data"
    images = data / "MultiPersonTestSet"
    source = Source("MuPoTS-3D", folder, EXPECTED, [images])
    path = source.require(data / "MuPoTS-3D.json")
    source.require(images)
    people, notes = _annotated(source, path), tuple[str, ...]()
    candidates = [data.parent / "bbox_root" / name for name in ESTIMATE_FILES]
    estimates_path = next((file for file in candidates if file.exists()), None)
    if estimates_path is None:
        notes = (f"without {source.relative(candidates[0])}: annotated boxes and true root depths are used",)
    else:
        people = _detected(source, people, estimates_path)
    return AnnotatedPeople(
        source=source,
        name="MuPoTS-3D",
        joint_set=MUCO,
        counted=tuple(range(ANNOTATED_JOINTS)),
        people=[person for together in people.values() for person in together],
        input_size=input_size,
        pixels=pixels,
        notes=notes,
    )


def _annotated(source: Source, path: Path) -> dict[int, list[Person]]:
    """Return the valid people by image id, with their annotated boxes."""
    data, people = source.read(path, _DATA), dict[int, list[Person]]()
    for image, annotation in with_images(data.images, data.annotations, path):
        name = f"{image.file_name} (annotation {annotation.id})"
        if not annotation.is_valid:
            source.leave_out(name, "marked as not valid")
            continue
        image_path = source.find_image(image.file_name)
        if image_path is None:
            continue
        try:
            box = crop_box(annotation.bbox, image.width, image.height)
        except BadInput:
            source.leave_out(name, NO_AREA)
            continue
        joints_cam = np.full((len(MUCO.joints), 3), np.nan)
        joints_px = np.full((len(MUCO.joints), 2), np.nan)
        joints_cam[:ANNOTATED_JOINTS] = numbers(
            annotation.keypoints_cam, (ANNOTATED_JOINTS, 3), f"{name}: keypoints_cam"
        )
        joints_px[:ANNOTATED_JOINTS] = numbers(
            annotation.keypoints_img, (ANNOTATED_JOINTS, 2), f"{name}: keypoints_img"
        )
        person = Person(
            name=name,
            image=image_path,
            image_size=(image.width, image.height),
            box=box,
            root=pelvis(MUCO),
            annotated=np.arange(len(MUCO.joints)) < ANNOTATED_JOINTS,
            joints_cam=joints_cam,
            camera=Camera(*image.intrinsic),
            joints_px=joints_px,
        )
        people.setdefault(image.id, []).append(person)
    return people


def _detected(source: Source, people: dict[int, list[Person]], path: Path) -> dict[int, list[Person]]:
    """Return the people with the boxes and root depths of their detections.

    In each image the pairs with the largest overlap in sum belong together.
    """
    estimates = read_estimates(source, path)
    return {
        image_id: list(_matched(source, together, estimates.get(image_id, []), path.name))
        for image_id, together in people.items()
    }


def _matched(source: Source, people: Sequence[Person], estimates: Sequence[Estimate], file: str) -> Iterator[Person]:
    from scipy.optimize import linear_sum_assignment

    detections: dict[int, Estimate] = {}
    if estimates:
        overlaps = iou(np.array([person.box for person in people]), np.array([e.bbox for e in estimates]))
        for row, column in zip(*linear_sum_assignment(overlaps, maximize=True), strict=True):
            if overlaps[row, column] >= SAME_PERSON_IOU:
                detections[row] = estimates[column]
    for index, person in enumerate(people):
        if index in detections:
            yield replace(person, box=detections[index].bbox, root_depth_mm=detections[index].root_cam[2])
        else:
            source.leave_out(person.name, f"not detected in {file}")


def iou(first: Array, second: Array) -> Array:
    """Return the (n, m) intersections over unions of (n, 4) and (m, 4) boxes x, y, width, height."""
    a, b = first[:, None], second[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    ratio: Array = common / (a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - common)
    return ratio
