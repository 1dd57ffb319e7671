"""Painter of figures: background, limbs and joints from back to front, light and grain.

Brightness encodes depth: a colour is multiplied by a factor that falls from the front of the volume to its back. Light
and grain vary too little to hide it.
"""

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

from export.images.skeleton import Array
from export.model.joint_sets import HUMAN36M

Image = NDArray[np.uint8]

RIGHT_LEG = {"R_Hip": 22, "R_Knee": 0, "R_Ankle": 42}
LEFT_LEG = {"L_Hip": 200, "L_Knee": 220, "L_Ankle": 242}
RIGHT_ARM = {"R_Shoulder": 338, "R_Elbow": 318, "R_Wrist": 298}
LEFT_ARM = {"L_Shoulder": 175, "L_Elbow": 150, "L_Wrist": 122}
TRUNK = {"Torso": 60, "Neck": 85, "Nose": 270}
HUES = RIGHT_LEG | LEFT_LEG | RIGHT_ARM | LEFT_ARM | TRUNK
"""Degrees on the colour circle: warm on the person's right, cool on the left."""
PALE = {"Pelvis": (1.0, 1.0, 1.0), "Head": (1.0, 0.75, 0.6), "Thorax": (0.65, 0.7, 1.0)}
JOINT_RADIUS_MM = {"Pelvis": 58.0, "Thorax": 34.0, "Head": 58.0, "Nose": 44.0}
USUAL_JOINT_RADIUS_MM = 50.0
LIMB_RADIUS_MM = 27.0
OUTLINE = 1.22
"""Radius of the dark ring around a joint's disc, as a multiple of the disc's."""
LIMB_PALENESS = 0.35
"""Share of white in a limb's colour, so that its joint stands out."""
SEGMENTS = 3
"""Pieces of a limb, each with its own brightness and depth."""
BRIGHTNESS_AT_ROOT, BRIGHTNESS_PER_MM = 0.62, -0.42e-3
BRIGHTNESS_LIMITS = (0.18, 1.0)
DISC_LIFT_MM = 40.0
"""Shift of a joint's disc towards the camera, which puts it in front of its limbs."""
LIGHT, TINT, GRAIN = 0.03, 0.02, 3.0
SHIFT = 4
"""Fractional bits of OpenCV's coordinates."""
_COLOURS = {name: colorsys.hsv_to_rgb(hue / 360, 1.0, 1.0) for name, hue in HUES.items()} | PALE
JOINT_COLOURS = 255 * np.array([_COLOURS[name] for name in HUMAN36M.joints])
"""(18, 3) RGB in 0..255 of each joint's disc at full brightness."""
LIMB_COLOURS = np.array([JOINT_COLOURS[end] for _, end in HUMAN36M.bones]) * (1 - LIMB_PALENESS) + 255 * LIMB_PALENESS
JOINT_RADII_MM = np.array([JOINT_RADIUS_MM.get(name, USUAL_JOINT_RADIUS_MM) for name in HUMAN36M.joints])


def brightness(depth_mm: Array) -> Array:
    """Return the factor of a colour at this depth behind the pelvis (negative: in front of it)."""
    return np.clip(BRIGHTNESS_AT_ROOT + BRIGHTNESS_PER_MM * depth_mm, *BRIGHTNESS_LIMITS)


def paint(rng: np.random.Generator, size: int, joints_px: Array, depth_mm: Array, px_per_mm: Array) -> Image:
    """Paint (size, size, 3) RGB.

    Args:
        rng: random generator for background, light and grain.
        size: edge of the image in pixels.
        joints_px: (18, 2) x, y.
        depth_mm: (18,) behind the pelvis.
        px_per_mm: (18,) pixels per millimetre at each joint.
    """
    canvas = _background(rng, size)
    _paint_figure(canvas, joints_px, depth_mm, px_per_mm)
    return _lit(rng, canvas)


def _paint_figure(canvas: Image, joints_px: Array, depth_mm: Array, px_per_mm: Array) -> None:
    """Paint limbs in pieces and joints as discs, the farthest first."""
    start, end = np.array(HUMAN36M.bones).T
    share = np.arange(SEGMENTS + 1)[:, None] / SEGMENTS

    def along(values: Array) -> Array:
        """(18, ...) at the joints → (SEGMENTS + 1, 17, ...) at the ends of the pieces."""
        weight = share.reshape(-1, 1, *[1] * (values.ndim - 1))
        ends: Array = values[start] * (1 - weight) + values[end] * weight
        return ends

    points, depths, radii = along(joints_px), along(depth_mm), LIMB_RADIUS_MM * along(px_per_mm)
    middle = (depths[:-1] + depths[1:]) / 2
    limb_colours = LIMB_COLOURS * brightness(middle)[..., None]
    direction = points[1:] - points[:-1]
    normal = np.stack([-direction[..., 1], direction[..., 0]], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    near, far = normal * radii[:-1, :, None], normal * radii[1:, :, None]
    quads = np.stack([points[:-1] + near, points[:-1] - near, points[1:] - far, points[1:] + far], axis=2)

    disc_radii = JOINT_RADII_MM * px_per_mm
    disc_colours = JOINT_COLOURS * brightness(depth_mm)[:, None]
    order = np.argsort(-np.concatenate([middle.ravel(), depth_mm - DISC_LIFT_MM]), kind="stable")
    bones = len(HUMAN36M.bones)
    for item in order.tolist():
        if item < middle.size:
            s, b = divmod(item, bones)
            colour = limb_colours[s, b].tolist()
            cv2.fillConvexPoly(canvas, _fixed(quads[s, b]), colour, cv2.LINE_AA, SHIFT)
            _disc(canvas, points[s, b], radii[s, b], colour)
            _disc(canvas, points[s + 1, b], radii[s + 1, b], colour)
        else:
            j = item - middle.size
            _disc(canvas, joints_px[j], OUTLINE * disc_radii[j], [0, 0, 0])
            _disc(canvas, joints_px[j], disc_radii[j], disc_colours[j].tolist())


def _disc(canvas: Image, centre: Array, radius: float, colour: list[float]) -> None:
    x, y = _fixed(centre).tolist()
    cv2.circle(canvas, (x, y), round(radius * (1 << SHIFT)), colour, -1, cv2.LINE_AA, SHIFT)


def _fixed(points: Array) -> NDArray[np.int32]:
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def _background(rng: np.random.Generator, size: int) -> Image:
    """Paint a cloudy background with shapes, duller than any figure."""
    cells = int(rng.integers(2, 12))
    grey = rng.uniform(20, 120) + rng.uniform(5, 45) * rng.standard_normal((cells, cells, 1))
    cloud = np.clip(grey + 12 * rng.standard_normal((cells, cells, 3)), 0, 170).astype(np.uint8)
    canvas: Image = np.asarray(cv2.resize(cloud, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    for _ in range(int(rng.integers(2, 9))):
        colour = np.clip(rng.uniform(15, 140) + rng.uniform(-25, 25, 3), 0, 255).tolist()
        a, b = _fixed(rng.uniform(-0.1, 1.1, (2, 2)) * size).tolist()
        kind = rng.random()
        if kind < 0.4:
            cv2.line(canvas, a, b, colour, int(rng.integers(1, 14)), cv2.LINE_AA, SHIFT)
        elif kind < 0.7:
            cv2.circle(canvas, a, int(rng.uniform(0.01, 0.12) * size) << SHIFT, colour, -1, cv2.LINE_AA, SHIFT)
        else:
            corners = _fixed((rng.uniform(0, 1, 2) + rng.uniform(-0.25, 0.25, (3, 2))) * size)
            cv2.fillConvexPoly(canvas, corners, colour, cv2.LINE_AA, SHIFT)
    return canvas


def _lit(rng: np.random.Generator, canvas: Image) -> Image:
    """Add light that falls off to one side, a tint, and grain."""
    size = len(canvas)
    slope = rng.uniform(-LIGHT, LIGHT, 2).astype(np.float32)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    light = np.float32(1 + rng.uniform(-LIGHT, LIGHT)) + slope[0] * ramp + slope[1] * ramp[:, None]
    tint = 1 + rng.uniform(-TINT, TINT, 3)
    grain = np.float32(rng.uniform(0, GRAIN)) * rng.standard_normal((size, size), np.float32)
    lit = cv2.multiply(canvas, cv2.merge([light * np.float32(t) for t in tint]), dtype=cv2.CV_32F)
    return np.asarray(cv2.add(lit, cv2.merge([grain] * 3), dtype=cv2.CV_8U), np.uint8)
