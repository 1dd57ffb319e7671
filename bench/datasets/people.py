"""Annotated people of a dataset: checked for contradictions, cut out of their images on demand."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.images import Pixels, find_pixels, read_image
from bench.datasets.orientation import SWAPPED, UPRIGHT, turn_points
from bench.datasets.protocol import Sample
from bench.datasets.source import Source
from export.common.errors import BadInput
from export.common.files import sha256_file
from export.common.plain import listed
from export.model.camera import Array, Camera
from export.model.joint_sets import JointSet
from export.runtime.pose import Box, crop

AGREEMENT = 0.1
"""Largest distance between annotated pixels and the projected millimetres, as a share of the box's edge.
Annotations by hand are off by a few hundredths; wrong intrinsics are off by tenths."""
SMALLEST_MM = 200.0
"""Smallest extent of a person annotated in millimetres: 1700 mm are 1.7 m or 170 cm."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Person:
    """Annotation of one person; without ``joints_cam`` and ``camera`` in pixels only."""

    name: str
    image: Path
    image_size: tuple[int, int]
    """Annotated width, height."""
    box: Box
    root: int
    """The joint that millimetres are relative to."""
    annotated: NDArray[np.bool_]
    """(J,)"""
    joints_cam: Array | None = None
    """(J, 3) in the camera's coordinates, in mm."""
    camera: Camera | None = None
    joints_px: Array | None = None
    """(J, 2) pixels of the image; None: the projection of ``joints_cam``."""
    root_depth_mm: float | None = None
    """Estimated depth of the root joint; None: the annotated one."""
    group: str | None = None

    def __post_init__(self) -> None:
        """Check the depths.

        Raises:
            BadInput: an annotated joint lies behind the camera.
        """
        depths = np.ones(1) if self.joints_cam is None else self.joints_cam[self.annotated, 2]
        if not (depths > 0).all():
            raise BadInput(
                f"{self.name}: a joint lies behind the camera",
                f"depth {depths.min():g} mm",
                "expected mm in the camera's coordinates, z away from it; for Human3.6M camera = R·world + t",
            )

    @cached_property
    def projected_px(self) -> Array:
        """(J, 2) pixels at which the camera sees the joints; without a camera the annotated ones."""
        if self.joints_cam is None or self.camera is None:
            assert self.joints_px is not None
            return self.joints_px
        pixels = np.full((len(self.joints_cam), 2), np.nan)
        pixels[self.annotated] = self.camera.project(self.joints_cam[self.annotated])
        return pixels

    @property
    def is_consistent(self) -> bool:
        """True if most joints lie in the box, and the camera sees them at the annotated pixels."""
        projected = self.projected_px[self.annotated]
        annotated = projected if self.joints_px is None else self.joints_px[self.annotated]
        corner, edges = np.array(self.box[:2]), np.array(self.box[2:])
        inside = ((projected >= corner) & (projected <= corner + edges)).all(axis=-1)
        offset = np.median(np.linalg.norm(annotated - projected, axis=-1))
        return bool(inside.mean() >= 0.5 and offset <= AGREEMENT * edges.max())

    @property
    def extent_mm(self) -> float | None:
        """Largest extent of the joints along an axis; None without millimetres."""
        return None if self.joints_cam is None else float(np.ptp(self.joints_cam[self.annotated], axis=0).max())

    def turned(self, orientation: int) -> "Person":
        """Turn annotations in stored pixels, as the image is turned for display; not for mirrored orientations."""
        corners = np.reshape(self.box, (2, 2)).cumsum(axis=0)
        turned = turn_points(corners, self.image_size, orientation)
        low, (width, height) = turned.min(axis=0), np.ptp(turned, axis=0)
        swapped, (x_axis, y_axis) = orientation in SWAPPED, turn_points(np.eye(2), (1, 1), orientation)
        joints_cam, camera = self.joints_cam, self.camera
        if joints_cam is not None:
            joints_cam = np.column_stack([joints_cam[:, :2] @ np.stack([x_axis, y_axis]), joints_cam[:, 2]])
        if camera is not None:
            centre = turn_points(np.array([camera.cx, camera.cy]), self.image_size, orientation)
            focal = (camera.fy, camera.fx) if swapped else (camera.fx, camera.fy)
            camera = Camera(*focal, *centre.tolist())
        return replace(
            self,
            image_size=self.image_size[::-1] if swapped else self.image_size,
            box=(*low.tolist(), float(width), float(height)),
            joints_cam=joints_cam,
            camera=camera,
            joints_px=None if self.joints_px is None else turn_points(self.joints_px, self.image_size, orientation),
        )

    def sample(self, input_size: int) -> Sample:
        """Return the sample, cut out of the image.

        Raises:
            BadInput: the image cannot be read, or its size differs from the annotated one.
        """
        joints_mm, root_depth_mm = None, self.root_depth_mm
        if self.joints_cam is not None:
            joints_mm = self.joints_cam - self.joints_cam[self.root]
            root_depth_mm = root_depth_mm or float(self.joints_cam[self.root, 2])
        return Sample(
            name=self.name,
            group=self.group,
            crop=crop(read_image(self.image, self.image_size), self.box, input_size),
            box=self.box,
            joints_px=self.projected_px if self.joints_px is None else self.joints_px,
            joints_mm=joints_mm,
            annotated=self.annotated,
            camera=self.camera,
            root_depth_mm=root_depth_mm,
        )


@dataclass(eq=False, kw_only=True)
class AnnotatedPeople:
    """Dataset of annotated people; annotations are kept in memory, images are not.

    The released code averages over mirrored photographs, whatever the dataset.
    """

    source: Source
    name: str
    joint_set: JointSet
    counted: tuple[int, ...]
    people: Sequence[Person]
    input_size: int
    protocol: int | None = None
    published: str | None = None
    notes: tuple[str, ...] = ()
    pixels: Pixels | None = None
    """The user's answer to what annotations refer to; afterwards None if no image has an EXIF orientation."""
    root: int = field(init=False)
    identity: dict[str, Any] = field(init=False)
    mirrors: bool = field(default=True, init=False)
    flip: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Check the people, and complete notes and identity.

        Raises:
            BadInput: all images are missing, nobody is left, most annotations contradict themselves, or it is not known
                which pixels they refer to.
        """
        notes = self.source.notes()
        if not self.people:
            detail = "; ".join(notes) or "no annotations of anybody who is evaluated"
            raise BadInput(f"{self.source.folder} contains nobody to evaluate", detail, "check the annotations")
        images = {person.image: person.image_size for person in self.people}
        self.pixels, orientations, remarks = find_pixels(images, self.pixels)
        if self.pixels == "stored":
            self.people = [person.turned(orientations.get(person.image, UPRIGHT)) for person in self.people]
        self.notes = (*self.notes, *notes, *remarks, *_check_consistency(self.source.folder, self.people))
        self.root = pelvis(self.joint_set)
        self.identity = {
            "dataset": self.source.dataset,
            "protocol": self.protocol,
            "joint_set": self.joint_set.name,
            "input_size": self.input_size,
            "files": {path.name: sha256_file(path) for path in self.source.files},
            "pixels": self.pixels,
            "samples": len(self.people),
            "names_sha256": hashlib.sha256("\n".join(person.name for person in self.people).encode()).hexdigest(),
        }

    def __len__(self) -> int:
        return len(self.people)

    def sample(self, index: int) -> Sample:
        """Return one sample; see ``Person.sample``."""
        return self.people[index].sample(self.input_size)


def pelvis(joint_set: JointSet) -> int:
    """Return the joint at which predictions and annotations are aligned."""
    return joint_set.joints.index("Pelvis")


def _check_consistency(folder: Path, people: Sequence[Person]) -> list[str]:
    """Return a note about people with contradictory annotations; refuse a dataset in which they are the rule."""
    inconsistent = [person.name for person in people if not person.is_consistent]
    if len(inconsistent) * 2 > len(people):
        raise BadInput(
            f"the annotations in {folder} contradict themselves",
            f"for {len(inconsistent):,} of {len(people):,} people the camera sees the joints outside the box or far "
            f"from their pixels: {listed(inconsistent, 3)}",
            "check that cameras, boxes and joints belong together; camera = R·world + t is expected, t in mm",
        )
    extents_mm = [person.extent_mm for person in people if person.extent_mm is not None]
    if extents_mm and not np.median(extents_mm) >= SMALLEST_MM:
        detail = f"the joints of a person span {np.median(extents_mm):g} mm in the median"
        raise BadInput(f"the joints in {folder} are not in millimetres", detail, "convert them to millimetres")
    if not inconsistent:
        return []
    count, names = f"{len(inconsistent):,}", listed(inconsistent, 3)
    return [f"{count} people's joints lie outside their box or far from their pixels: {names}"]
