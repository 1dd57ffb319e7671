"""A picture of a pose: the skeleton on the photo, and in space from two sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.predict.prediction import Prediction
from export.images.photo import Photo
from export.model.joint_sets import JointSet
from export.model.pose import CUBE_MM, Array

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
INK, PAPER, LINE, WHITE = (60, 60, 60), (250, 250, 248), (222, 222, 218), (255, 255, 255)
SHIFT = 4
"""Fractional bits of coordinates in OpenCV's drawing calls."""


def draw_prediction(photo: Photo, prediction: Prediction, title: Sequence[str]) -> Image:
    """Draw the photo with skeleton and crop, and beside it the pose from the front and from the side: (960, W, 3) RGB.

    Args:
        photo: the photo.
        prediction: the joints in it.
        title: lines written over the photo, in ASCII.
    """
    height, width = photo.image.shape[:2]
    scale = min(HEIGHT / height, LONGEST / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    overlay = np.full((HEIGHT, size[0], 3), INK, np.uint8)
    shrinking = scale < 1
    view = cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    overlay[: size[1]] = view
    x, y, w, h = (value * scale for value in prediction.box)
    cv2.rectangle(overlay, (round(x), round(y)), (round(x + w), round(y + h)), WHITE, 1, cv2.LINE_AA)
    _skeleton(overlay, prediction.image_px * scale, prediction.joint_set, _nearness(prediction.bins), outlined=True)
    for line, text in enumerate(title):
        _text(overlay, text, (14, 30 + 30 * line), ground=INK)
    space = Space.from_prediction(prediction)
    front = _panel(space.mm[:, :2], space, "from the front", _nearness(prediction.bins))
    side = _panel(space.mm[:, [2, 1]], space, "from the side (camera on the left)", -space.mm[:, 0])
    return np.hstack([overlay, np.vstack([front, side])])


@dataclass(frozen=True, eq=False)
class Space:
    """A pose in mm around the middle of its extent, and the radius that shows all of it."""

    mm: Array
    radius_mm: float
    joint_set: JointSet
    metric: bool
    """True: camera and distance are known, so these are true millimetres."""

    @classmethod
    def from_prediction(cls, prediction: Prediction) -> "Space":
        """Take camera coordinates, or else those of the volume's cube."""
        metric = prediction.camera_mm is not None
        joints = prediction.camera_mm if prediction.camera_mm is not None else prediction.cube_mm
        middle = (joints.min(axis=0) + joints.max(axis=0)) / 2
        radius = max(CUBE_MM / 2, 1.1 * float(np.abs(joints - middle).max()))
        return cls(joints - middle, radius, prediction.joint_set, metric)


def _panel(flat_mm: Array, space: Space, title: str, nearness: Array) -> Image:
    """Draw the pose projected along one axis, on a grid: (480, 480, 3)."""
    panel = np.full((PANEL, PANEL, 3), PAPER, np.uint8)
    scale = PANEL / 2 / space.radius_mm
    lines = int(space.radius_mm // GRID_MM)
    for step in range(-lines, lines + 1):
        at = round(PANEL / 2 + step * GRID_MM * scale)
        cv2.line(panel, (at, 0), (at, PANEL), LINE, 1)
        cv2.line(panel, (0, at), (PANEL, at), LINE, 1)
    _skeleton(panel, PANEL / 2 + flat_mm * scale, space.joint_set, nearness, outlined=False)
    _text(panel, title, (12, 24))
    measure = f"grid {GRID_MM} mm" if space.metric else f"grid {GRID_MM} mm if the crop is {CUBE_MM:.0f} mm wide"
    _text(panel, measure, (12, PANEL - 12), size=0.4)
    return panel


def _skeleton(image: Image, points: Array, joints: JointSet, nearness: Array, *, outlined: bool) -> None:
    """Draw bones and joints, the farthest first."""
    fixed = np.rint(np.clip(points, -1e5, 1e5) * 2**SHIFT).astype(int)
    for a, b in sorted(joints.bones, key=lambda bone: nearness[list(bone)].mean()):
        for colour, width in ((WHITE, 7), (_colour(joints, a, b), 4))[not outlined :]:
            cv2.line(image, fixed[a].tolist(), fixed[b].tolist(), colour, width, cv2.LINE_AA, SHIFT)
    for j in np.argsort(nearness):
        for colour, radius in ((WHITE, 6), (_colour(joints, j), 4))[not outlined :]:
            cv2.circle(image, fixed[j].tolist(), radius << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _colour(joints: JointSet, *ends: int) -> Colour:
    sides = {joints.joints[j][:2] for j in ends}
    return RIGHT if "R_" in sides else LEFT if "L_" in sides else MIDDLE


def _nearness(bins: Array) -> Array:
    nearness: Array = -bins[:, 2]
    return nearness


def _text(image: Image, text: str, at: tuple[int, int], size: float = 0.6, ground: Colour | None = None) -> None:
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    if ground is not None:
        cv2.rectangle(
            image, (at[0] - 6, at[1] - height - 6), (at[0] + width + 6, at[1] + below + 2), ground, cv2.FILLED
        )
    colour = INK if ground is None else WHITE
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
