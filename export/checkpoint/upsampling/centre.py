"""About which point of the crop do a network's poses turn?

Turn a crop about its centre: the pose of a network that reads its own volume rightly turns about the same point. If
all its positions are stretched away from the corner at the origin, it turns about a stretched centre instead. Unlike
distances and errors this shows a stretch of one per cent: a network may follow less or more than it should, and err
from joint to joint, and yet the point about which it does so stays where it is.

Pure functions on joints in pixels of the crop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from export.checkpoint.upsampling.motions import Motion
from export.model.pose import Array

CONFIDENCE = 0.95
LEAST_DEVIATION_PX = 0.05
"""Of one image's estimate from another's. Networks deviate by half a pixel and more; the bound only keeps
weights finite where made-up joints agree to the last digit."""


def centres(before: Array, after: Array, motion: Motion) -> Array:
    """(axes, N) pixels: for each image the point about which its pose moved, by least squares over the maps.

    A map M about f takes the mean joint p to q = M p + (I − M) f; so (I − M) f = q − M p. The mean over joints does
    not change when left and right are exchanged.

    Args:
        before: (N, J, 2) joints in the crops.
        after: (K, N, J, 2) joints in the moved crops, for each of the motion's K matrices.
    """
    left = np.concatenate([np.eye(2) - matrix for matrix in motion.matrices])
    middle = before.mean(axis=1)
    right = np.concatenate(
        [(seen.mean(axis=1) - middle @ matrix.T).T for seen, matrix in zip(after, motion.matrices, strict=True)]
    )
    found: Array = np.linalg.pinv(left) @ right
    return found[list(motion.axes)]


def missed_share(before: Array, after: Array, motion: Motion, mirror_pairs: Sequence[tuple[int, int]]) -> float:
    """How far joints end from where the motion takes them, as a share of the way there (root mean squares).

    Arguments as for ``centres``. The share is 0 for a network that follows exactly, 1 for one whose joints stay where
    they are, infinite where nothing should move. For a motion that swaps sides both readings are tried: photographs,
    whose left joints become right ones, and drawings in which a joint keeps its colour and so its name.
    """
    keep = np.arange(before.shape[1])
    swap = keep.copy()
    for one, other in mirror_pairs if motion.swaps_sides else ():
        swap[one], swap[other] = other, one
    return min(_missed(before, after, motion, order) for order in (keep, swap))


def _missed(before: Array, after: Array, motion: Motion, order: NDArray[np.intp]) -> float:
    centre = np.zeros(2)
    centre[list(motion.axes)] = centres(before, after, motion).mean(axis=1)
    squares, way = 0.0, 0.0
    for seen, matrix in zip(after, motion.matrices, strict=True):
        expected = (before[:, order] - centre) @ matrix.T + centre
        squares += float(((seen - expected) ** 2).sum())
        way += float(((expected - before) ** 2).sum())
    return float(np.sqrt(squares / way)) if way > 0 else float("inf")


@dataclass(frozen=True)
class Offset:
    """How far a centre is off along x and along y, which a stretch moves alike, and how well that is known."""

    px: float
    uncertainty_px: float
    """Half the width of the 95 % interval."""


def pooled_offset(estimates: Array) -> Offset:
    """One value from several kinds of estimates (K, N) in pixels, each made for every one of N ≥ 2 images.

    The kinds are weighted by their inverse variances over images (the less certain count less). The interval is
    Student's, over images, since kinds made from one image are not independent. Where the kinds disagree by more than
    their variances explain, it is widened by the root of chi² per degree of freedom (the Birge ratio, as the Particle
    Data Group does it): a stretch moves all of them alike, another defect need not.
    """
    kinds, images = estimates.shape
    variances = np.maximum(estimates.var(axis=1, ddof=1), LEAST_DEVIATION_PX**2)
    weights = (1 / variances) / (1 / variances).sum()
    of_each = weights @ estimates
    offset = float(of_each.mean())
    error = np.sqrt(max(float(of_each.var(ddof=1)), LEAST_DEVIATION_PX**2) / images)
    chi2 = float(((estimates.mean(axis=1) - offset) ** 2 / (variances / images)).sum())
    birge = np.sqrt(max(1.0, chi2 / (kinds - 1))) if kinds > 1 else 1.0
    student = float(stdtrit(images - 1, (1 + CONFIDENCE) / 2))
    return Offset(offset, float(student * error * birge))
