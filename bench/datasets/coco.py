"""A folder of one's own: images with COCO-style annotations, whose joints are matched to the network's by name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, TypeAdapter
from pydantic.types import FailFast

from bench.datasets.annotations import NO_AREA, Layout, LeftOut, PixelCount, Positive, numbers, paired, read_json, some
from bench.datasets.images import Images
from bench.datasets.people import AnnotatedPeople, Person, lies_in, located_person, photographs, root_of
from export.common.errors import BadInput
from export.model.joint_sets import JointSet
from export.model.pose import Array, Box, Camera, crop_box

MATCHED_SHARE = 0.5
"""At least so many of the network's joints must be annotated; with fewer the names are of another kind."""

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
    """Which annotated joint is which of the network's."""

    category: Number
    annotated: tuple[str, ...]
    ours: tuple[int, ...]
    """Numbers of the network's joints that are annotated..."""
    theirs: tuple[int, ...]
    """... and of the annotated ones that they are."""


def open_coco(folder: Path, joint_set: JointSet, input_size: int) -> AnnotatedPeople:
    """The annotated people in ``folder``, for a network that speaks of ``joint_set``.

    ``keypoints`` are pixels; with ``keypoints_cam`` (joints × 3, mm in the camera's coordinates) on the annotation and
    ``intrinsic`` ([fx, fy, cx, cy] or {focal, princpt}) on the image a person is judged in mm as well. A joint is
    annotated where COCO's third number is not 0.

    Raises:
        BadInput: another layout, a damaged file, joints of other names, or no image of all that are annotated.
    """
    layout = Layout("COCO-style annotations", folder, EXPECTED)
    path = _annotation_file(layout)
    data = read_json(path, _DATA)
    match = _match(path, data.categories, joint_set)
    images, left_out = Images(layout, folder / "images", folder), LeftOut()
    people = [
        person
        for image, annotation in paired(data.images, data.annotations, path)
        if (person := _person(image, annotation, match, joint_set, images, left_out)) is not None
    ]
    return photographs(
        layout,
        f"{folder.resolve().name} (COCO-style)",
        joint_set,
        match.ours,
        people,
        images=images,
        left_out=left_out,
        files=[path],
        input_size=input_size,
        notes=[*_unmatched(match, joint_set), *_without_camera(people, data.annotations)],
    )


def same_name(name: str) -> str:
    """What spellings of one joint have in common: R_Hip, right_hip, rhip and Right Hip are all rhip."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(left|right)(?=.)", lambda side: side[0][0], plain)


def _annotation_file(layout: Layout) -> Path:
    path = layout.folder / "annotations.json"
    if path.is_file():
        return path
    found = sorted((layout.folder / "annotations").glob("*.json"))
    if len(found) != 1:
        seen = f"annotations.json is missing, and annotations/ holds {some([file.name for file in found])}"
        raise layout.refused(seen)
    return found[0]


def _match(path: Path, categories: Sequence[_Category], joint_set: JointSet) -> _Match:
    with_joints = [category for category in categories if category.keypoints]
    if len(with_joints) != 1:
        seen = f"{len(with_joints)} of {len(categories)} categories have keypoints"
        raise BadInput(f"{path} must name the joints of one category", seen, "give categories[].keypoints, once")
    [category] = with_joints
    names = tuple(category.keypoints or ())
    theirs = {same_name(name): number for number, name in enumerate(names)}
    if len(theirs) < len(names):
        raise BadInput(f"{path} names a joint twice", ", ".join(names), "give each joint a name of its own")
    ours = [number for number, name in enumerate(joint_set.joints) if same_name(name) in theirs]
    if len(ours) < MATCHED_SHARE * len(joint_set.joints) or "Pelvis" not in joint_set.joints:
        raise BadInput(
            f"{path} does not name the joints that the network speaks of",
            f"annotated: {', '.join(names)}; the network's ({joint_set.name}): {', '.join(joint_set.joints)}",
            "rename categories[].keypoints to the network's names, where they mean the same points of the body",
        )
    pairs = tuple(theirs[same_name(joint_set.joints[number])] for number in ours)
    return _Match(category.id, names, tuple(ours), pairs)


def _unmatched(match: _Match, joint_set: JointSet) -> Iterator[str]:
    theirs = [name for number, name in enumerate(match.annotated) if number not in match.theirs]
    ours = [name for number, name in enumerate(joint_set.joints) if number not in match.ours]
    if theirs:
        yield f"annotated joints that the network does not speak of: {', '.join(theirs)}"
    if ours:
        yield f"joints of the network that are not annotated, and not counted: {', '.join(ours)}"


def _person(
    image: _Image,
    annotation: _Annotation,
    match: _Match,
    joint_set: JointSet,
    images: Images,
    left_out: LeftOut,
) -> Person | None:
    """The annotated person, or None where the image is missing or ``left_out`` has the reason."""
    name = f"{image.file_name} (annotation {annotation.id})"
    reason = _unusable(annotation, match)
    if reason is not None:
        left_out.add(reason, name)
        return None
    path = images.find(image.file_name)
    if path is None:
        return None
    box = _box(image, annotation, name)
    if box is None:
        left_out.add(NO_AREA, name)
        return None
    flat = numbers(annotation.keypoints, (3 * len(match.annotated),), f"{name}: keypoints")
    annotated, joints_px = _ours(flat.reshape(-1, 3), match, joint_set)
    if not annotated.any():
        left_out.add("none of their joints is annotated", name)
        return None
    size, root, camera = (image.width, image.height), root_of(joint_set), image.camera
    if annotation.keypoints_cam is None or camera is None:
        agrees = lies_in(box, joints_px[annotated], joints_px[annotated])
        return Person(
            name=name,
            group=None,
            box=box,
            joints_px=joints_px,
            joints_mm=None,
            annotated=annotated,
            camera=None,
            root_depth_mm=None,
            image=path,
            image_size=size,
            agrees=agrees,
        )
    if not annotated[root]:
        left_out.add("their pelvis is not annotated, from which mm are counted", name)
        return None
    needed = (flat[2::3] > 0) & np.isin(np.arange(len(match.annotated)), match.theirs)
    cam = numbers(annotation.keypoints_cam, (len(match.annotated), 3), f"{name}: keypoints_cam", needed)
    joints_cam = np.full((len(joint_set.joints), 3), np.nan)
    joints_cam[list(match.ours)] = cam[list(match.theirs)]
    joints_cam[~annotated] = np.nan
    return located_person(name, path, size, box, joints_cam, camera, root, annotated=annotated, joints_px=joints_px)


def _unusable(annotation: _Annotation, match: _Match) -> str | None:
    """Why the annotation says nothing that can be judged, whatever its image."""
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


def _ours(keypoints: Array, match: _Match, joint_set: JointSet) -> tuple[NDArray[np.bool_], Array]:
    """(K, 3) x, y, v → (J,) which are annotated, and (J, 2) pixels, NaN where they are not."""
    annotated = np.zeros(len(joint_set.joints), np.bool_)
    joints_px = np.full((len(joint_set.joints), 2), np.nan)
    matched = keypoints[list(match.theirs)]
    annotated[list(match.ours)] = matched[:, 2] > 0
    joints_px[list(match.ours)] = matched[:, :2]
    joints_px[~annotated] = np.nan
    return annotated, joints_px


def _without_camera(people: Sequence[Person], annotations: Sequence[_Annotation]) -> Iterator[str]:
    in_mm = sum(annotation.keypoints_cam is not None for annotation in annotations)
    in_pixels = [person.name for person in people if person.joints_mm is None]
    if in_mm and in_pixels:
        yield (
            f"{len(in_pixels):,} judged in pixels only, without keypoints_cam or without an intrinsic of their image: "
            f"{some(in_pixels)}"
        )
