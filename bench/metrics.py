"""Distances between predicted and true joints, as the literature takes them. Pure functions."""

import numpy as np
from numpy.typing import NDArray

from export.pose import Array


def joint_errors(predicted: Array, truth: Array) -> Array:
    """(..., J, D) twice → (..., J) Euclidean distances, whose mean over joints is the MPJPE."""
    errors: Array = np.linalg.norm(predicted - truth, axis=-1)
    return errors


def rigidly_aligned(predicted: Array, truth: Array, counted: NDArray[np.bool_]) -> Array:
    """``predicted`` (J, 3) turned and moved, never scaled or mirrored, to lie nearest to ``truth`` (J, 3).

    Only joints that are ``counted`` (J,) pull. Without a scale, as protocol 1 of the released evaluation has it.
    The rotation is Kabsch's: the SVD of the covariance, with the sign that makes it a rotation (Kabsch 1976, Acta
    Crystallographica A32). Fewer than three counted joints fix no rotation: NaN is returned, and so it is for a
    prediction that is not finite.
    """
    if counted.sum() < 3 or not np.isfinite(predicted[counted]).all():
        return np.full_like(predicted, np.nan)
    from_middle, to_middle = predicted[counted].mean(axis=0), truth[counted].mean(axis=0)
    covariance = (predicted[counted] - from_middle).T @ (truth[counted] - to_middle)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    aligned: Array = (predicted - from_middle) @ (u @ sign @ vt) + to_middle
    return aligned
