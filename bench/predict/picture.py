"""A picture of a pose: the skeleton on the photo, and in space from two sides; a second pose in grey beneath it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.predict.prediction import Prediction
from export.images.photo import Photo
from export.model.camera import Array
from export.model.joint_sets import JointSet
from export.runtime.pose import CUBE_MM

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

HEIGHT = 960
"""Height of the picture in pixels; photos are scaled to it."""
LONGEST = 1600
"""Largest width of the photo in the picture."""
PANEL = HEIGHT // 2
GRID_MM = 500
RIGHT, LEFT, MIDDLE = (240, 120, 20), (40, 130, 240), (70, 160, 70)
"""Warm on the person's right, cool on the left."""
GREY = (130, 130, 130)
"""Colour of the other pose."""
INK, PAPER, LINE, WHITE = (60, 60, 60), (250, 250, 248), (222, 222, 218), (255, 255, 255)
SHIFT = 4
"""Fractional bits of coordinates in OpenCV's drawing calls."""


@dataclass(frozen=True, eq=False)
class OtherPose:
    """A second pose of the same person, such as the known one or that of another precision."""

    name: str
    image_px: Array
    """(J, 2) x, y in the photo."""
    mm: Array
    """(J, 3) in the coordinates of the prediction: the camera's if it has them, otherwise the cube's."""


def draw_prediction(
    photo: Photo,
    prediction: Prediction,
    title: Sequence[str],
    other: OtherPose | None = None,
    *,
    names: bool = False,
) -> Image:
    """Draw the photo with skeleton, crop and legend, and beside it the pose from two sides: (960, W, 3) RGB."""
    space = Space.from_prediction(prediction)
    second_poses = () if other is None else (space.centred(other.mm),)
    front = _panel(space, (0, 1), "from the front", -prediction.bins[:, 2], second_poses)
    side = _panel(space, (2, 1), "from the side (camera on the left)", -space.mm[:, 0], second_poses)
    return np.hstack([_overlay(photo, prediction, title, other, names), np.vstack([front, side])])


def draw_comparison(
    photo: Photo,
    prediction: Prediction,
    title: Sequence[str],
    reference: Prediction,
    reference_title: Sequence[str],
    *,
    name: str,
    names: bool = False,
) -> Image:
    """Draw the photo with the reference, and beside it the prediction over the grey reference: (960, W, 3)."""
    other = OtherPose(name, reference.image_px, reference.space_mm)
    left = _overlay(photo, reference, reference_title, None, names)
    return np.hstack([left, draw_prediction(photo, prediction, title, other, names=names)])


def _overlay(photo: Photo, prediction: Prediction, title: Sequence[str], other: OtherPose | None, names: bool) -> Image:
    """Draw the photo with skeleton, crop and legend: (960, W, 3)."""
    height, width = photo.image.shape[:2]
    scale = min(HEIGHT / height, LONGEST / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    overlay = np.full((HEIGHT, size[0], 3), INK, np.uint8)
    shrinking = scale < 1
    view = cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    overlay[: size[1]] = view
    x, y, w, h = (value * scale for value in prediction.box)
    cv2.rectangle(overlay, (round(x), round(y)), (round(x + w), round(y + h)), WHITE, 1, cv2.LINE_AA)
    joints, points, nearness = prediction.joint_set, prediction.image_px * scale, -prediction.bins[:, 2]
    if other is not None:
        _skeleton(overlay, other.image_px * scale, joints, nearness, outlined=True, colour=GREY)
    _skeleton(overlay, points, joints, nearness, outlined=True)
    if names:
        for name, point in zip(joints.joints, np.clip(points, 0, size), strict=True):
            at = round(point[0]) + 10, round(point[1]) + 5
            cv2.putText(overlay, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 4, cv2.LINE_AA)
            _text(overlay, name, at, size=0.45, colour=WHITE)
    for line, text in enumerate(title):
        _text(overlay, text, (14, 30 + 30 * line), colour=WHITE, ground=INK)
    _legend(overlay, joints, other)
    return overlay


def _legend(image: Image, joints: JointSet, other: OtherPose | None) -> None:
    """Write what the colours mean, in the lower left corner."""
    used = {_colour(joints, joint) for joint in range(len(joints.joints))}
    sides = {RIGHT: "the person's right", LEFT: "the person's left", MIDDLE: "middle"}
    rows = [(colour, text) for colour, text in sides.items() if colour in used]
    rows += [(GREY, other.name)] if other is not None else []
    for row, (colour, text) in enumerate(reversed(rows)):
        y = HEIGHT - 16 - 26 * row
        _text(image, text, (46, y), size=0.5, colour=WHITE, ground=INK)
        cv2.line(image, (12, y - 5), (36, y - 5), WHITE, 7, cv2.LINE_AA)
        cv2.line(image, (12, y - 5), (36, y - 5), colour, 4, cv2.LINE_AA)


@dataclass(frozen=True, eq=False)
class Space:
    """A pose in mm around the middle of its extent, and the radius that shows all of it."""

    mm: Array
    middle: Array
    """(3,) The middle, in the coordinates of the prediction."""
    radius_mm: float
    joint_set: JointSet
    metric: bool
    """True: camera and distance are known, so these are true millimetres."""

    @classmethod
    def from_prediction(cls, prediction: Prediction) -> "Space":
        """Take camera coordinates, or else those of the volume's cube."""
        metric = prediction.camera_mm is not None
        joints = prediction.space_mm
        middle = (joints.min(axis=0) + joints.max(axis=0)) / 2
        radius = max(CUBE_MM / 2, 1.1 * float(np.abs(joints - middle).max()))
        return cls(joints - middle, middle, radius, prediction.joint_set, metric)

    def centred(self, joints_mm: Array) -> Array:
        """Return another pose in mm around the middle of this one."""
        centred: Array = joints_mm - self.middle
        return centred


def _panel(space: Space, axes: tuple[int, int], title: str, nearness: Array, second_poses: Sequence[Array]) -> Image:
    """Draw the poses projected to two axes, on a grid: (480, 480, 3)."""
    panel = np.full((PANEL, PANEL, 3), PAPER, np.uint8)
    scale = PANEL / 2 / space.radius_mm
    lines = int(space.radius_mm // GRID_MM)
    for step in range(-lines, lines + 1):
        at = round(PANEL / 2 + step * GRID_MM * scale)
        cv2.line(panel, (at, 0), (at, PANEL), LINE, 1)
        cv2.line(panel, (0, at), (PANEL, at), LINE, 1)
    for mm, colour in (*((mm, GREY) for mm in second_poses), (space.mm, None)):
        _skeleton(panel, PANEL / 2 + mm[:, axes] * scale, space.joint_set, nearness, outlined=False, colour=colour)
    _text(panel, title, (12, 24))
    measure = f"grid {GRID_MM} mm" if space.metric else f"grid {GRID_MM} mm if the crop is {CUBE_MM:.0f} mm wide"
    _text(panel, measure, (12, PANEL - 12), size=0.4)
    return panel


def _skeleton(
    image: Image, points: Array, joints: JointSet, nearness: Array, *, outlined: bool, colour: Colour | None = None
) -> None:
    """Draw bones and joints, the farthest first; by default in the colours of the person's sides."""
    fixed = np.rint(np.clip(points, -1e5, 1e5) * 2**SHIFT).astype(int)
    for a, b in sorted(joints.bones, key=lambda bone: nearness[list(bone)].mean()):
        for ink, width in ((WHITE, 7), (colour or _colour(joints, a, b), 4))[not outlined :]:
            cv2.line(image, fixed[a].tolist(), fixed[b].tolist(), ink, width, cv2.LINE_AA, SHIFT)
    for j in np.argsort(nearness):
        for ink, radius in ((WHITE, 6), (colour or _colour(joints, j), 4))[not outlined :]:
            cv2.circle(image, fixed[j].tolist(), radius << SHIFT, ink, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _colour(joints: JointSet, *ends: int) -> Colour:
    sides = {joints.joints[j][:2] for j in ends}
    return RIGHT if "R_" in sides else LEFT if "L_" in sides else MIDDLE


def _text(
    image: Image,
    text: str,
    at: tuple[int, int],
    size: float = 0.6,
    colour: Colour = INK,
    ground: Colour | None = None,
) -> None:
    if ground is not None:
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        corners = (at[0] - 6, at[1] - height - 6), (at[0] + width + 6, at[1] + below + 2)
        cv2.rectangle(image, *corners, ground, cv2.FILLED)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
