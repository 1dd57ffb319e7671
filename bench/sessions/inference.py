"""From crops to joints, whatever the backend's input is."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.sessions.exported import ExportFolder
from bench.sessions.protocol import Session
from export.common.errors import BadInput
from export.model.pose import Array, Volume, normalise

CROP, NORMALISE, NETWORK, DECODE = STAGES = ("crop", "normalise", "network", "decode")
"""From a photo to joints in its pixels."""

Lap = Callable[[str], None]
"""Is told which stage has just ended."""


def no_lap(stage: str) -> None:
    """Nobody wants to know."""


def run_network(
    backend: Session,
    crops: NDArray[np.uint8],
    volume: Volume,
    flip_pairs: Sequence[tuple[int, int]] | None = None,
    inputs: dict[tuple[bool, bool], NDArray[Any]] | None = None,
    lap: Lap = no_lap,
) -> Array:
    """(N, S, S, 3) RGB → (N, J, 3) bins.

    Args:
        backend: what runs the model.
        crops: as ``export.model.pose.crop`` makes them.
        volume: the model's.
        flip_pairs: given, the mean with what is seen in the mirrored crops is taken, as the released evaluation does.
        inputs: what was prepared of these crops already for another backend; added to.
        lap: is told the end of ``normalise`` and of ``network``.
    """
    inputs = {} if inputs is None else inputs

    def run(mirrored: bool) -> Array:
        key = backend.takes_pixels, mirrored
        if key not in inputs:
            pixels = np.ascontiguousarray(crops[:, :, ::-1] if mirrored else crops)
            inputs[key] = pixels if backend.takes_pixels else normalise(pixels)
            if not backend.takes_pixels:
                lap(NORMALISE)
        joints = backend.run(inputs[key])
        lap(NETWORK)
        return joints.astype(np.float64)

    joints = run(False)
    if flip_pairs is None:
        return joints
    return np.asarray((joints + volume.mirrored(run(True), flip_pairs)) / 2)


def no_mirrors(exported: ExportFolder) -> str | None:
    """Why averaging over mirrored images makes no sense for this model; None if it does."""
    if exported.manifest.weights.origin == "demo":
        return "the demo checkpoint's figures have a colour for each side"
    if not exported.joint_set.mirror_pairs:
        return f"{exported.joint_set.name}: left and right are not known"
    return None


def require_mirrors(exported: ExportFolder) -> None:
    """See that averaging over mirrored images makes sense for this model.

    Raises:
        BadInput: it does not.
    """
    reason = no_mirrors(exported)
    if reason is not None:
        raise BadInput("mirroring makes no sense", reason, "leave --flip away")
