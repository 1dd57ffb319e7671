"""MuPoTS-3D as the released evaluation reads it: several people an image, 17 of MuCo's 21 joints.

Source of the layout and of the joints: data/MuPoTS/MuPoTS.py in the released code of PoseNet, on which that of
ConvNeXtPose builds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import FiniteFloat, TypeAdapter
from pydantic.types import FailFast

from bench.datasets.annotations import NO_AREA, Layout, LeftOut, PixelCount, Positive, numbers, paired, read_json
from bench.datasets.images import Images
from bench.datasets.people import AnnotatedPeople, Person, located_person, photographs, root_of
from bench.datasets.roots import Estimate, read_estimates
from export.common.errors import BadInput
from export.model.joint_sets import MUCO
from export.model.pose import Array, Box, Camera, crop_box

ANNOTATED_JOINTS = 17
"""The first of MuCo's joints; hands and toes are not annotated."""
SAME_PERSON_IOU = 0.5
"""A detected box that overlaps a person's less (area of the intersection over that of the union) is another's."""
ESTIMATE_FILES = ("bbox_mupots_output.json", "bbox_root_mupots_output.json")
"""The first as the released instructions call it, the second as the released code does."""

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


@dataclass(frozen=True)
class _Cut:
    """One person whose image is there, and where the annotation would cut them out."""

    name: str
    path: Path
    image: _Image
    annotation: _Annotation
    box: Box


def open_mupots(folder: Path, input_size: int) -> AnnotatedPeople:
    """MuPoTS-3D in ``folder``: the one that holds data/, or data/ itself.

    Where ``bbox_root/bbox_mupots_output.json`` is there, each person gets the box and the root depth of the detection
    that overlaps theirs best, and people who were not detected are left out; otherwise annotated boxes and true depths
    are used.

    Raises:
        BadInput: another layout, a file that is damaged or lacks something, or no image of all that are annotated.
    """
    layout = Layout("MuPoTS-3D", folder, EXPECTED)
    data = folder if (folder / "MuPoTS-3D.json").exists() else folder / "data"
    path = layout.require(data / "MuPoTS-3D.json")
    images, left_out = Images(layout, layout.require(data / "MultiPersonTestSet")), LeftOut()
    cuts = _cuts(path, images, left_out)
    candidates = [data.parent / "bbox_root" / name for name in ESTIMATE_FILES]
    estimates_path = next((file for file in candidates if file.exists()), None)
    files, notes = [path], [f"without {layout.relative(candidates[0])}: annotated boxes and true root depths are used"]
    found: dict[int, Estimate] = {}
    if estimates_path is not None:
        found = _matched(cuts, read_estimates(estimates_path))
        files, notes = [path, estimates_path], []
    people = []
    for cut in cuts:
        estimate = found.get(cut.annotation.id)
        if estimate is None and estimates_path is not None:
            left_out.add(f"not detected in {estimates_path.name}", cut.name)
        else:
            people.append(_person(cut, estimate))
    return photographs(
        layout,
        "MuPoTS-3D",
        MUCO,
        range(ANNOTATED_JOINTS),
        people,
        images=images,
        left_out=left_out,
        files=files,
        input_size=input_size,
        notes=notes,
    )


def _cuts(path: Path, images: Images, left_out: LeftOut) -> list[_Cut]:
    data = read_json(path, _DATA)
    cuts = []
    for image, annotation in paired(data.images, data.annotations, path):
        name = f"{image.file_name} (annotation {annotation.id})"
        if not annotation.is_valid:
            left_out.add("marked as not valid", name)
            continue
        image_path = images.find(image.file_name)
        if image_path is None:
            continue
        try:
            box = crop_box(annotation.bbox, image.width, image.height)
        except BadInput:
            left_out.add(NO_AREA, name)
        else:
            cuts.append(_Cut(name, image_path, image, annotation, box))
    return cuts


def _person(cut: _Cut, estimate: Estimate | None) -> Person:
    rows = ANNOTATED_JOINTS
    joints_cam = np.full((len(MUCO.joints), 3), np.nan)
    joints_px = np.full((len(MUCO.joints), 2), np.nan)
    joints_cam[:rows] = numbers(cut.annotation.keypoints_cam, (rows, 3), f"{cut.name}: keypoints_cam")
    joints_px[:rows] = numbers(cut.annotation.keypoints_img, (rows, 2), f"{cut.name}: keypoints_img")
    return located_person(
        cut.name,
        cut.path,
        (cut.image.width, cut.image.height),
        cut.box if estimate is None else estimate.bbox,
        joints_cam,
        Camera(*cut.image.intrinsic),
        root_of(MUCO),
        annotated=np.arange(len(MUCO.joints)) < rows,
        joints_px=joints_px,
        root_depth_mm=None if estimate is None else estimate.root_depth_mm,
    )


def _matched(cuts: Sequence[_Cut], estimates: dict[int, list[Estimate]]) -> dict[int, Estimate]:
    """Annotation id → the detection of that person: in each image, the pairs with the largest overlap in sum."""
    from scipy.optimize import linear_sum_assignment

    in_image: dict[int, list[_Cut]] = {}
    for cut in cuts:
        in_image.setdefault(cut.image.id, []).append(cut)
    matched = {}
    for image_id, together in in_image.items():
        detected = estimates.get(image_id, [])
        if not detected:
            continue
        overlaps = iou(np.array([cut.box for cut in together]), np.array([estimate.bbox for estimate in detected]))
        for row, column in zip(*linear_sum_assignment(overlaps, maximize=True), strict=True):
            if overlaps[row, column] >= SAME_PERSON_IOU:
                matched[together[row].annotation.id] = detected[column]
    return matched


def iou(boxes: Array, others: Array) -> Array:
    """(n, 4) and (m, 4) boxes x, y, width, height → (n, m) area of the intersection over that of the union."""
    a, b = boxes[:, None], others[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    ratio: Array = common / (a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - common)
    return ratio
