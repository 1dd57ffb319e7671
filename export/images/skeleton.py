"""Random bodies in random postures: Human3.6M joints in millimetres.

Angles are in degrees. In the body's frame x points to the person's left, y up, z forward; in the camera's x points
right, y down, z away from the camera.
"""

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from export.model.joint_sets import HUMAN36M

Array = NDArray[np.float64]

REACH_MM = 940.0
"""Largest distance of a joint from the pelvis along an axis of the camera; the volume ends at 1000 mm."""

FACING_CAMERA: Array = np.diag([1.0, -1.0, -1.0])
"""Rotation from the frame of a body that faces the camera to the camera's frame."""

LENGTHS_MM = {
    "hip": 132.0,
    "thigh": 443.0,
    "shin": 440.0,
    "waist": 233.0,
    "chest": 257.0,
    "neck": 121.0,
    "skull": 115.0,
    "shoulder": 151.0,
    "upper arm": 279.0,
    "forearm": 252.0,
}
"""Bones of an average body, near the means of Human3.6M's subjects."""


@dataclass(frozen=True)
class Range:
    """Triangular distribution of an angle in degrees."""

    low: float
    mode: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one angle."""
        return float(rng.triangular(self.low, self.mode, self.high))


LEAN, SWAY = Range(-18, 4, 30), Range(-14, 0, 14)
BEND, TILT, TWIST = Range(-12, 5, 32), Range(-16, 0, 16), Range(-24, 0, 24)
NOD, HEAD_TILT, HEAD_TURN = Range(-25, 0, 35), Range(-20, 0, 20), Range(-55, 0, 55)
SHRUG = Range(-12, 2, 20)
ARM_FLEXION, ARM_ABDUCTION, ARM_TWIST = Range(-45, 25, 165), Range(-5, 20, 110), Range(-60, 0, 80)
ELBOW = Range(0, 35, 140)
THIGH_FLEXION, THIGH_ABDUCTION, THIGH_TWIST = Range(-25, 10, 95), Range(-8, 8, 42), Range(-25, 0, 30)
KNEE = Range(0, 20, 115)


def random_joints(rng: np.random.Generator) -> Array:
    """Draw a body, posture and heading; return (18, 3) mm relative to the pelvis in the camera's axes."""
    lengths = {bone: mm * rng.uniform(0.94, 1.06) for bone, mm in LENGTHS_MM.items()}
    size = rng.uniform(0.88, 1.08)
    while True:
        heading = _turn(rng.uniform(-180, 180), LEAN.draw(rng), SWAY.draw(rng))
        joints = size * _posture(rng, lengths) @ (FACING_CAMERA @ heading).T
        if np.abs(joints).max() < REACH_MM:
            return joints


def _posture(rng: np.random.Generator, lengths: dict[str, float]) -> Array:
    """Return (18, 3) in the body's frame, by forward kinematics from the pelvis outward."""
    at: dict[str, Array] = {"Pelvis": np.zeros(3)}
    for side, outward in (("R", -1.0), ("L", 1.0)):
        thigh = _turn(
            outward * THIGH_TWIST.draw(rng), -THIGH_FLEXION.draw(rng), outward * THIGH_ABDUCTION.draw(rng), swing=True
        )
        shin = thigh @ _about_x(KNEE.draw(rng))
        at[f"{side}_Hip"] = np.array([outward * lengths["hip"], 0, 0])
        at[f"{side}_Knee"] = at[f"{side}_Hip"] - lengths["thigh"] * thigh[:, 1]
        at[f"{side}_Ankle"] = at[f"{side}_Knee"] - lengths["shin"] * shin[:, 1]
    waist = _turn(0.5 * TWIST.draw(rng), 0.5 * BEND.draw(rng), 0.5 * TILT.draw(rng))
    chest = waist @ _turn(TWIST.draw(rng), BEND.draw(rng), TILT.draw(rng))
    head = chest @ _turn(HEAD_TURN.draw(rng), NOD.draw(rng), HEAD_TILT.draw(rng))
    at["Torso"] = lengths["waist"] * waist[:, 1]
    at["Neck"] = at["Torso"] + lengths["chest"] * chest[:, 1]
    at["Nose"] = at["Neck"] + lengths["neck"] * (head @ np.array([0, cos(radians(35)), sin(radians(35))]))
    at["Head"] = at["Nose"] + lengths["skull"] * (head @ np.array([0, cos(radians(25)), -sin(radians(25))]))
    for side, outward in (("R", -1.0), ("L", 1.0)):
        shrug = chest @ _about_z(outward * SHRUG.draw(rng))
        arm = chest @ _turn(
            outward * ARM_TWIST.draw(rng), -ARM_FLEXION.draw(rng), outward * ARM_ABDUCTION.draw(rng), swing=True
        )
        forearm = arm @ _about_x(-ELBOW.draw(rng))
        at[f"{side}_Shoulder"] = at["Neck"] + outward * lengths["shoulder"] * shrug[:, 0]
        at[f"{side}_Elbow"] = at[f"{side}_Shoulder"] - lengths["upper arm"] * arm[:, 1]
        at[f"{side}_Wrist"] = at[f"{side}_Elbow"] - lengths["forearm"] * forearm[:, 1]
    at["Thorax"] = (at["L_Shoulder"] + at["R_Shoulder"]) / 2
    return np.array([at[name] for name in HUMAN36M.joints])


def _turn(about_y: float, about_x: float, about_z: float, *, swing: bool = False) -> Array:
    """Return a rotation of the body's frame: heading first, then lean, then sway.

    With ``swing`` the limb is first twisted about its own axis, then lifted forward, then moved outward.
    """
    if swing:
        return _about_z(about_z) @ _about_x(about_x) @ _about_y(about_y)
    return _about_y(about_y) @ _about_x(about_x) @ _about_z(about_z)


def _about_x(degrees: float) -> Array:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_y(degrees: float) -> Array:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_z(degrees: float) -> Array:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
