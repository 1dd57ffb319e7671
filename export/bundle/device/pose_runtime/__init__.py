"""Poses from a bundle: ``pose = Pose.load("S-bundle"); joints_px, joints_mm = pose(image, boxes)``.

Needed: Python 3.8 or newer, NumPy, and one of onnxruntime, openvino, tensorrt, tensorrt_rtx. OpenCV crops faster where
it is installed. No runtime is imported before ``Pose.load``.
"""

from pose_runtime.pose import Pose
from pose_runtime.runtime.errors import BadInput, CheckFailed, Failure, Inconclusive, NotPossible

__all__ = ["BadInput", "CheckFailed", "Failure", "Inconclusive", "NotPossible", "Pose"]
