"""Errors of one contender, summed over samples: what is kept does not grow with the dataset."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from bench.datasets.protocol import Dataset, Sample
from export.model.pose import Array, Volume, crop_to_image, locate

ERROR_MM, ALIGNED_MM, ERROR_PX, DRIFT_MM = "error_mm", "aligned_mm", "error_px", "drift_mm"
ALL = ""
"""The group of all samples."""
PRICE, DRIFT_MAX = "price", "drift_max_mm"
NORMAL_95 = 1.96


class Tally:
    """Sums and counts per joint, per measure and group; a value that is not finite makes its mean so."""

    def __init__(self, arrays: Mapping[str, Array] | None = None) -> None:
        self.arrays = {name: array.copy() for name, array in (arrays or {}).items()}

    def add(self, measure: str, groups: Iterable[str], values: Array, counted: NDArray[np.bool_]) -> None:
        """Count (J,) values where ``counted``."""
        for group in groups:
            sums = self.arrays.setdefault(f"{measure}|{group}", np.zeros((2, len(values))))
            sums[0, counted] += values[counted]
            sums[1, counted] += 1

    def add_price(self, difference: float) -> None:
        """One sample's mean error beyond the reference's."""
        self.arrays[PRICE] = self.arrays.get(PRICE, np.zeros(3)) + np.array([1, difference, difference**2])

    def add_largest(self, drift_mm: float) -> None:
        """The largest drift so far; NaN stays."""
        self.arrays[DRIFT_MAX] = np.maximum(self.arrays.get(DRIFT_MAX, np.zeros(1)), drift_mm)

    def groups(self, measure: str) -> list[str]:
        """The groups, other than that of all samples, in which something was counted."""
        return sorted(key.partition("|")[2] for key in self.arrays if key.startswith(f"{measure}|") and key[-1] != "|")

    def mean(self, measure: str, group: str = ALL) -> float | None:
        """Over all joints of all samples; None where nothing was counted."""
        sums = self.arrays.get(f"{measure}|{group}")
        return None if sums is None or not sums[1].any() else float(sums[0].sum() / sums[1].sum())

    def of_joints(self, measure: str) -> list[float | None]:
        """(J) means; None for a joint that was never counted."""
        sums = self.arrays.get(f"{measure}|{ALL}")
        return [] if sums is None else [s / n if n else None for s, n in sums.T.tolist()]

    def largest(self) -> float | None:
        """The largest drift."""
        return float(self.arrays[DRIFT_MAX][0]) if DRIFT_MAX in self.arrays else None

    def price(self) -> tuple[float, float | None, float | None] | None:
        """Mean of the samples' differences from the reference, and its 95 % interval (normal, from their spread).

        One sample has no spread, and so no interval.

        Differences are paired: both saw the same images, so what images cost cancels.
        """
        count, total, squares = self.arrays.get(PRICE, np.zeros(3)).tolist()
        if not count:
            return None
        mean = total / count
        if count < 2:
            return mean, None, None
        spread = max(0.0, squares / count - mean**2) * count / max(1, count - 1)
        half = NORMAL_95 * float(np.sqrt(spread / count))
        return mean, mean - half, mean + half


def judge_sample(
    tally: Tally, dataset: Dataset, sample: Sample, volume: Volume, bins: Array, reference: Array | None
) -> float | None:
    """Add what (J, 3) ``bins`` say of one sample; returns the mean error in mm, None without a truth in mm.

    Drift is the distance from what the ``reference`` says of the same crop, in mm of the volume's cube, as parity
    takes it.
    """
    counted = np.zeros(len(bins), bool)
    counted[list(dataset.counted)] = True
    groups = (ALL,) if sample.group is None else (ALL, sample.group)
    if reference is not None:
        drift = joint_errors(bins * volume.bin_mm, reference * volume.bin_mm)
        tally.add(DRIFT_MM, (ALL,), drift, np.ones_like(counted))
        tally.add_largest(float(drift.max()))
    counted &= sample.annotated
    image_px = crop_to_image(volume.crop_pixels(bins), sample.box, volume.input_size)
    tally.add(ERROR_PX, groups, joint_errors(image_px, sample.joints_px), counted)
    if sample.joints_mm is None or sample.camera is None or sample.root_depth_mm is None:
        return None
    joints = locate(bins, volume, sample.box, sample.camera, sample.root_depth_mm)
    joints = joints - joints[dataset.root]
    errors = joint_errors(joints, sample.joints_mm)
    tally.add(ERROR_MM, groups, errors, counted)
    aligned = rigidly_aligned(joints, sample.joints_mm, counted)
    tally.add(ALIGNED_MM, groups, joint_errors(aligned, sample.joints_mm), counted)
    return float(errors[counted].mean()) if counted.any() else None


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
