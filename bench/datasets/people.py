"""Annotated people of one dataset: checked against their boxes, cut out of their images when asked for."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.annotations import Layout, LeftOut, some
from bench.datasets.images import Images, read_image
from bench.datasets.protocol import Annotation, Sample
from export.common.errors import BadInput
from export.common.files import sha256_file
from export.model.joint_sets import JointSet
from export.model.pose import Array, Box, Camera, crop

AGREEMENT = 0.1
"""Share of the box's edge by which annotated pixels may differ from the camera's view of the annotated millimetres.
Annotations by hand are off by a few hundredths; wrong intrinsics are off by tenths."""
SMALLEST_MM = 200.0
"""A person whose joints span less is not annotated in millimetres: 1700 mm are 1.7 m or 170 cm."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Person(Annotation):
    """What is kept of a sample until its image is asked for."""

    image: Path
    image_size: tuple[int, int]
    """Annotated width, height."""
    agrees: bool
    """Whether the joints lie in the box, and the camera sees them at the annotated pixels."""


def located_person(
    name: str,
    image: Path,
    image_size: tuple[int, int],
    box: Box,
    joints_cam: Array,
    camera: Camera,
    root: int,
    *,
    annotated: NDArray[np.bool_] | None = None,
    joints_px: Array | None = None,
    root_depth_mm: float | None = None,
    group: str | None = None,
) -> Person:
    """A person whose joints (J, 3) are known in the camera's coordinates, in mm.

    Where they are not given, ``annotated`` is all joints, ``joints_px`` (J, 2) what the camera sees, ``root_depth_mm``
    the true depth.

    Raises:
        BadInput: an annotated joint lies behind the camera.
    """
    annotated = np.ones(len(joints_cam), np.bool_) if annotated is None else annotated
    if not (joints_cam[annotated, 2] > 0).all():
        nearest = joints_cam[annotated, 2].min()
        raise BadInput(
            f"{name}: a joint lies behind the camera",
            f"depth {nearest:g} mm",
            "expected mm in the camera's coordinates, z away from it; for Human3.6M camera = R·world + t",
        )
    seen_px = np.full((len(joints_cam), 2), np.nan)
    seen_px[annotated] = camera.project(joints_cam[annotated])
    joints_px = seen_px if joints_px is None else joints_px
    return Person(
        name=name,
        group=group,
        image=image,
        image_size=image_size,
        box=box,
        joints_px=joints_px,
        joints_mm=joints_cam - joints_cam[root],
        annotated=annotated,
        camera=camera,
        root_depth_mm=float(joints_cam[root, 2]) if root_depth_mm is None else root_depth_mm,
        agrees=lies_in(box, joints_px[annotated], seen_px[annotated]),
    )


def lies_in(box: Box, joints_px: Array, seen_px: Array) -> bool:
    """Whether most joints lie in the box, and where they are seen: both (n, 2) pixels of the image."""
    corner, edges = np.array(box[:2]), np.array(box[2:])
    inside = ((seen_px >= corner) & (seen_px <= corner + edges)).all(axis=-1)
    offset = np.median(np.linalg.norm(joints_px - seen_px, axis=-1))
    return bool(inside.mean() >= 0.5 and offset <= AGREEMENT * edges.max())


@dataclass(eq=False)
class AnnotatedPeople:
    """A ``Dataset``, whose fields ``protocol.py`` explains: annotations are kept in memory, images are not."""

    name: str
    joint_set: JointSet
    counted: tuple[int, ...]
    root: int
    mirrors: bool
    flip: bool
    published: str | None
    identity: dict[str, Any]
    notes: tuple[str, ...]
    input_size: int
    people: Sequence[Person]

    def __len__(self) -> int:
        return len(self.people)

    def sample(self, index: int) -> Sample:
        """Number ``index``, cut out of its image.

        Raises:
            BadInput: the image cannot be read, or is of another size than annotated.
        """
        person = self.people[index]
        return person.with_crop(crop(read_image(person.image, *person.image_size), person.box, self.input_size))


def photographs(
    layout: Layout,
    name: str,
    joint_set: JointSet,
    counted: Iterable[int],
    people: Sequence[Person],
    *,
    images: Images,
    left_out: LeftOut,
    files: Iterable[Path],
    input_size: int,
    protocol: int | None = None,
    published: str | None = None,
    notes: Sequence[str] = (),
) -> AnnotatedPeople:
    """The dataset of these people. The released code averages over mirrored photographs, whatever the set.

    Raises:
        BadInput: all images are missing, nobody is left, or most annotations contradict themselves.
    """
    missing = [*images.notes(), *left_out.notes()]
    if not people:
        seen = "; ".join(missing) or "no annotations of anybody who is evaluated"
        raise BadInput(f"nobody in {layout.folder} can be judged on", seen, "check the annotations")
    told = [*notes, *missing, *_contradictions(layout, people)]
    names = "\n".join(person.name for person in people)
    identity = {
        "dataset": layout.dataset,
        "protocol": protocol,
        "joint_set": joint_set.name,
        "input_size": input_size,
        "files": {path.name: sha256_file(path) for path in files},
        "samples": len(people),
        "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
    }
    return AnnotatedPeople(
        name=name,
        joint_set=joint_set,
        counted=tuple(counted),
        root=root_of(joint_set),
        mirrors=True,
        flip=True,
        published=published,
        identity=identity,
        notes=tuple(told),
        input_size=input_size,
        people=people,
    )


def root_of(joint_set: JointSet) -> int:
    """The joint that predictions and truth are aligned at: the pelvis."""
    return joint_set.joints.index("Pelvis")


def _contradictions(layout: Layout, people: Sequence[Person]) -> list[str]:
    """A note of people whose annotation contradicts itself; refuses where that is the rule."""
    strangers = [person.name for person in people if not person.agrees]
    if len(strangers) * 2 > len(people):
        raise BadInput(
            f"the annotations in {layout.folder} contradict themselves",
            f"of {len(strangers):,} of {len(people):,} people the camera sees the joints outside the box or far from "
            f"their pixels: {some(strangers)}",
            "check that cameras, boxes and joints belong together; camera = R·world + t is expected, t in mm",
        )
    spans = [_span_mm(person.joints_mm[person.annotated]) for person in people if person.joints_mm is not None]
    if spans and not np.median(spans) >= SMALLEST_MM:
        seen = f"the joints of a person span {np.median(spans):g} mm in the median"
        raise BadInput(f"the joints in {layout.folder} are not in millimetres", seen, "convert them to millimetres")
    if not strangers:
        return []
    return [f"{len(strangers):,} people's joints lie outside their box or far from their pixels: {some(strangers)}"]


def _span_mm(joints_mm: Array) -> float:
    return float(np.ptp(joints_mm, axis=0).max())
