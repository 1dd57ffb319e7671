"""Joints of person crops, whatever a session's input format."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.sessions.exported import ExportFolder
from bench.sessions.protocol import Session
from export.common.errors import BadInput
from export.model.camera import Array
from export.runtime.pose import Volume, normalise

CROP, NORMALISE, NETWORK, DECODE = STAGES = ("crop", "normalise", "network", "decode")
"""Stages from a photo to joints in its pixels."""

Lap = Callable[[str], None]
"""Called with the name of each stage at its end."""


def no_lap(stage: str) -> None:
    """Ignore the end of a stage."""


def run_network(
    session: Session,
    crops: NDArray[np.uint8],
    volume: Volume,
    flip_pairs: Sequence[tuple[int, int]] | None = None,
    inputs: dict[tuple[bool, bool], NDArray[Any]] | None = None,
    lap: Lap = no_lap,
) -> Array:
    """Run a session on (N, S, S, 3) RGB crops and return (N, J, 3) bins.

    Args:
        session: the model.
        crops: crops of ``export.runtime.pose.crop``.
        volume: the model's volume.
        flip_pairs: joints to exchange; the result is then the mean with the mirrored crops' joints, as in the released
            evaluation.
        inputs: inputs that other sessions have prepared from these crops; added to.
        lap: called at the end of ``normalise`` and of ``network``.
    """
    inputs = {} if inputs is None else inputs

    def run(mirrored: bool) -> Array:
        key = session.takes_pixels, mirrored
        if key not in inputs:
            pixels = np.ascontiguousarray(crops[:, :, ::-1] if mirrored else crops)
            inputs[key] = pixels if session.takes_pixels else normalise(pixels)
            if not session.takes_pixels:
                lap(NORMALISE)
        joints = session.run(inputs[key])
        lap(NETWORK)
        return joints.astype(np.float64)

    joints = run(False)
    if flip_pairs is None:
        return joints
    return np.asarray((joints + volume.mirrored(run(True), flip_pairs)) / 2)


def no_mirrors(exported: ExportFolder) -> str | None:
    """Return why averaging over mirrored images makes no sense for this model; None if it does."""
    if exported.manifest.weights.origin == "demo":
        return "the demo checkpoint's figures have a colour for each side"
    if not exported.joint_set.mirror_pairs:
        return f"{exported.joint_set.name}: left and right are not known"
    return None


def require_mirrors(exported: ExportFolder) -> None:
    """Check that averaging over mirrored images makes sense for this model.

    Raises:
        BadInput: it does not.
    """
    reason = no_mirrors(exported)
    if reason is not None:
        raise BadInput("mirroring makes no sense", reason, "leave --flip away")
