"""Centre of rotation of a network's poses.

Turn a crop about its centre: a network that decodes its volume correctly turns its pose about the same point. If it
stretches all positions away from the corner at the origin, its pose turns about a stretched centre. Unlike distances
and errors, the centre shows a stretch of one per cent: it stays in place though a network turns too little or too much,
and errs from joint to joint.

The functions are pure, on joints in pixels of the crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from export.checkpoint.upsampling.runs import Motion
from export.model.camera import Array

CONFIDENCE = 0.95
LEAST_DEVIATION_PX = 0.05
"""Least standard deviation over images. Networks deviate by half a pixel and more; the bound only keeps weights finite
where synthetic joints agree to the last digit."""


def centres(before: Array, after: Array, motion: Motion) -> Array:
    """Return for each image the point about which its pose moved, by least squares over the maps.

    A map M about f takes the mean joint p to q = M p + (I − M) f; so (I − M) f = q − M p. The mean over joints does
    not change when left and right are exchanged.

    Args:
        before: (N, J, 2) joints in the crops.
        after: (K, N, J, 2) joints in the moved crops, for each of the motion's K matrices.
        motion: the motion of the crops.

    Returns:
        (axes, N) pixels.
    """
    left = np.concatenate([np.eye(2) - matrix for matrix in motion.matrices])
    middle = before.mean(axis=1)
    right = np.concatenate(
        [(joints.mean(axis=1) - middle @ matrix.T).T for joints, matrix in zip(after, motion.matrices, strict=True)]
    )
    points: Array = np.linalg.pinv(left) @ right
    return points[list(motion.axes)]


def missed_share(before: Array, after: Array, motion: Motion, mirror_pairs: Sequence[tuple[int, int]]) -> float:
    """Return the error of moved joints as a share of the motion's length (root mean squares).

    The share is 0 for a network that follows exactly, 1 if joints stay in place, and infinite if nothing should move.
    For a motion that swaps sides, the better of two readings counts: left joints become right ones (photographs), or
    joints keep their names (drawings, which show a joint by its colour).

    Args:
        before: as for ``centres``.
        after: as for ``centres``.
        motion: as for ``centres``.
        mirror_pairs: pairs of left and right joints.
    """
    keep = np.arange(before.shape[1])
    swap = keep.copy()
    for left, right in mirror_pairs if motion.swaps_sides else ():
        swap[left], swap[right] = right, left
    return min(_missed(before, after, motion, order) for order in (keep, swap))


def _missed(before: Array, after: Array, motion: Motion, order: NDArray[np.intp]) -> float:
    centre = np.zeros(2)
    centre[list(motion.axes)] = centres(before, after, motion).mean(axis=1)
    squares, lengths = 0.0, 0.0
    for joints, matrix in zip(after, motion.matrices, strict=True):
        expected = (before[:, order] - centre) @ matrix.T + centre
        squares += float(((joints - expected) ** 2).sum())
        lengths += float(((expected - before) ** 2).sum())
    return float(np.sqrt(squares / lengths)) if lengths > 0 else float("inf")


@dataclass(frozen=True)
class Offset:
    """Offset of a centre, along x and y alike as a stretch makes it, and its uncertainty."""

    px: float
    uncertainty_px: float
    """Half the width of the 95 % interval."""


def pooled_offset(estimates: Array) -> Offset:
    """Return one value from K kinds of estimates (K, N), in pixels, each made for every one of N ≥ 2 images.

    The kinds are weighted by their inverse variances over images. The interval is Student's, over images, since kinds
    made from one image are not independent. Where kinds disagree by more than their variances explain, it is widened
    by the root of chi² per degree of freedom (the Birge ratio, as the Particle Data Group does it): a stretch moves all
    kinds alike, another defect need not.
    """
    kinds, images = estimates.shape
    variances = np.maximum(estimates.var(axis=1, ddof=1), LEAST_DEVIATION_PX**2)
    weights = (1 / variances) / (1 / variances).sum()
    by_image = weights @ estimates
    offset = float(by_image.mean())
    error = np.sqrt(max(float(by_image.var(ddof=1)), LEAST_DEVIATION_PX**2) / images)
    chi2 = float(((estimates.mean(axis=1) - offset) ** 2 / (variances / images)).sum())
    birge = np.sqrt(max(1.0, chi2 / (kinds - 1))) if kinds > 1 else 1.0
    student = float(stdtrit(images - 1, (1 + CONFIDENCE) / 2))
    return Offset(offset, float(student * error * birge))
