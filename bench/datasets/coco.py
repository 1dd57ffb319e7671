"""Images with COCO-style annotations; their joints are matched to the network's by name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import FiniteFloat, TypeAdapter
from pydantic.types import FailFast

from bench.datasets.images import Pixels
from bench.datasets.people import AnnotatedPeople, Person, pelvis
from bench.datasets.source import NO_AREA, PixelCount, Positive, Source, numbers, with_images
from export.common.errors import BadInput
from export.common.plain import listed
from export.model.camera import Camera
from export.model.joint_sets import JointSet
from export.runtime.pose import Box, crop_box

MATCHED_SHARE = 0.5
"""Smallest share of the network's joints to be annotated; with fewer, the names are of another kind."""

EXPECTED = "annotations.json, or exactly one file in annotations/*.json, beside the images in images/"

Number = int | str


@dataclass(frozen=True, slots=True)
class _Intrinsic:
    focal: tuple[Positive, Positive]
    princpt: tuple[FiniteFloat, FiniteFloat]


@dataclass(frozen=True, slots=True)
class _Image:
    id: Number
    file_name: str
    width: PixelCount
    height: PixelCount
    intrinsic: tuple[Positive, Positive, FiniteFloat, FiniteFloat] | _Intrinsic | None = None

    @property
    def camera(self) -> Camera | None:
        if isinstance(self.intrinsic, _Intrinsic):
            return Camera(*self.intrinsic.focal, *self.intrinsic.princpt)
        return self.intrinsic and Camera(*self.intrinsic)


@dataclass(frozen=True, slots=True)
class _Annotation:
    id: Number
    image_id: Number
    category_id: Number
    bbox: list[FiniteFloat] | None = None
    iscrowd: bool = False
    keypoints: list[FiniteFloat] | None = None
    keypoints_cam: Any = None


@dataclass(frozen=True, slots=True)
class _Category:
    id: Number
    keypoints: list[str] | None = None


@dataclass(frozen=True, slots=True)
class _Data:
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]
    categories: list[_Category]


_DATA = TypeAdapter(_Data)


@dataclass(frozen=True)
class _Match:
    """Annotated joints that the network has."""

    category: Number
    names: tuple[str, ...]
    """All annotated joints."""
    joint_set: JointSet
    network: tuple[int, ...]
    """Indices of the matched joints among the network's..."""
    annotated: tuple[int, ...]
    """... and among the annotated ones."""


def open_coco(folder: Path, joint_set: JointSet, input_size: int, pixels: Pixels | None = None) -> AnnotatedPeople:
    """Open the annotated people in ``folder``, for a network with ``joint_set``.

    ``keypoints`` are pixels; with ``keypoints_cam`` (joints × 3, mm in the camera's coordinates) on the annotation and
    ``intrinsic`` ([fx, fy, cx, cy] or {focal, princpt}) on the image a person is evaluated in mm as well. A joint is
    annotated if COCO's third number is not 0.

    Raises:
        BadInput: another layout, a damaged file, joints of other names, or all annotated images are missing.
    """
    source = Source("COCO-style annotations", folder, EXPECTED, [folder / "images", folder])
    path = _annotation_file(source)
    data = source.read(path, _DATA)
    match = _match(path, data.categories, joint_set)
    pairs = with_images(data.images, data.annotations, path)
    people = [person for pair in pairs if (person := _person(*pair, match, source)) is not None]
    return AnnotatedPeople(
        source=source,
        name=f"{folder if folder.name else folder.resolve().name} (COCO-style)",
        joint_set=joint_set,
        counted=match.network,
        people=people,
        input_size=input_size,
        pixels=pixels,
        notes=(*_unmatched(match), *_without_camera(people, data.annotations)),
    )


def same_name(name: str) -> str:
    """Return the common form of a joint's spellings: R_Hip, right_hip, rhip and Right Hip all give rhip."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(left|right)(?=.)", lambda side: side[0][0], plain)


def _annotation_file(source: Source) -> Path:
    path = source.folder / "annotations.json"
    if path.is_file():
        return path
    files = sorted((source.folder / "annotations").glob("*.json"))
    if len(files) != 1:
        names = listed([file.name for file in files], 3)
        raise source.layout_error(f"annotations.json is missing, and annotations/ contains {names}")
    return files[0]


def _match(path: Path, categories: Sequence[_Category], joint_set: JointSet) -> _Match:
    with_joints = [category for category in categories if category.keypoints]
    if len(with_joints) != 1:
        detail = f"{len(with_joints)} of {len(categories)} categories have keypoints"
        raise BadInput(f"{path} must name the joints of one category", detail, "give categories[].keypoints, once")
    [category] = with_joints
    names = tuple(category.keypoints or ())
    indices = {same_name(name): index for index, name in enumerate(names)}
    if len(indices) < len(names):
        raise BadInput(f"{path} names a joint twice", ", ".join(names), "give each joint a name of its own")
    network = [index for index, name in enumerate(joint_set.joints) if same_name(name) in indices]
    if len(network) < MATCHED_SHARE * len(joint_set.joints) or "Pelvis" not in joint_set.joints:
        raise BadInput(
            f"{path} does not name the network's joints",
            f"annotated: {', '.join(names)}; the network's ({joint_set.name}): {', '.join(joint_set.joints)}",
            "rename categories[].keypoints to the network's names, where they mean the same points of the body",
        )
    annotated = tuple(indices[same_name(joint_set.joints[index])] for index in network)
    return _Match(category.id, names, joint_set, tuple(network), annotated)


def _unmatched(match: _Match) -> Iterator[str]:
    annotated = [name for index, name in enumerate(match.names) if index not in match.annotated]
    network = [name for index, name in enumerate(match.joint_set.joints) if index not in match.network]
    if annotated:
        yield f"annotated joints that the network does not have: {', '.join(annotated)}"
    if network:
        yield f"joints of the network that are not annotated, and not counted: {', '.join(network)}"


def _person(image: _Image, annotation: _Annotation, match: _Match, source: Source) -> Person | None:
    """Return the annotated person; None if the image is missing or the person is left out."""
    name = f"{image.file_name} (annotation {annotation.id})"
    if (reason := _unusable(annotation, match)) is not None:
        source.leave_out(name, reason)
        return None
    path = source.find_image(image.file_name)
    if path is None:
        return None
    box = _box(image, annotation, name)
    if box is None:
        source.leave_out(name, NO_AREA)
        return None
    joints, root = len(match.joint_set.joints), pelvis(match.joint_set)
    keypoints = numbers(annotation.keypoints, (3 * len(match.names),), f"{name}: keypoints").reshape(-1, 3)
    matched = list(match.annotated)
    annotated = np.zeros(joints, np.bool_)
    annotated[list(match.network)] = keypoints[matched, 2] > 0
    if not annotated.any():
        source.leave_out(name, "none of their joints is annotated")
        return None
    joints_px = np.full((joints, 2), np.nan)
    joints_px[list(match.network)] = keypoints[matched, :2]
    joints_px[~annotated] = np.nan
    joints_cam = None
    if annotation.keypoints_cam is not None and image.camera is not None:
        if not annotated[root]:
            source.leave_out(name, "their pelvis is not annotated, which millimetres are relative to")
            return None
        needed = (keypoints[:, 2] > 0) & np.isin(np.arange(len(match.names)), match.annotated)
        cam = numbers(annotation.keypoints_cam, (len(match.names), 3), f"{name}: keypoints_cam", needed)
        joints_cam = np.full((joints, 3), np.nan)
        joints_cam[list(match.network)] = cam[matched]
        joints_cam[~annotated] = np.nan
    return Person(
        name=name,
        image=path,
        image_size=(image.width, image.height),
        box=box,
        root=root,
        annotated=annotated,
        joints_cam=joints_cam,
        camera=None if joints_cam is None else image.camera,
        joints_px=joints_px,
    )


def _unusable(annotation: _Annotation, match: _Match) -> str | None:
    """Return why the annotation cannot be used, whatever its image."""
    if annotation.category_id != match.category:
        return "of a category without joints"
    if annotation.iscrowd:
        return "marked as a crowd"
    if not annotation.bbox:
        return "without a box"
    if not annotation.keypoints:
        return "without keypoints"
    return None


def _box(image: _Image, annotation: _Annotation, name: str) -> Box | None:
    x, y, width, height = numbers(annotation.bbox, (4,), f"{name}: bbox")
    try:
        return crop_box((x, y, width, height), image.width, image.height)
    except BadInput:
        return None


def _without_camera(people: Sequence[Person], annotations: Sequence[_Annotation]) -> Iterator[str]:
    in_mm = any(annotation.keypoints_cam is not None for annotation in annotations)
    in_pixels = [person.name for person in people if person.joints_cam is None]
    if in_mm and in_pixels:
        yield (
            f"{len(in_pixels):,} evaluated in pixels only, without keypoints_cam or without an intrinsic of their "
            f"image: {listed(in_pixels, 3)}"
        )
