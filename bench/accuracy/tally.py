"""Sums of one model's errors over samples; their size does not grow with the dataset."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from bench.datasets.protocol import Dataset, Sample
from export.model.camera import Array, locate
from export.runtime.pose import Volume, crop_to_image

ERROR_MM, ALIGNED_MM, ERROR_PX, REFERENCE_MM = "error_mm", "aligned_mm", "error_px", "reference_mm"
"""Measures: distances from the annotation, and from the reference model."""
ALL = ""
"""Group of all samples."""
ACCURACY_LOSS, LARGEST = "accuracy_loss", "largest_reference_mm"
NORMAL_95 = 1.96


class Tally:
    """Sums and counts per joint, measure and group; a value that is not finite makes its mean so."""

    def __init__(self, arrays: Mapping[str, Array] | None = None) -> None:
        self.arrays = {name: array.copy() for name, array in (arrays or {}).items()}

    def add(self, measure: str, groups: Iterable[str], values: Array, counted: NDArray[np.bool_]) -> None:
        """Add (J,) values where ``counted``."""
        for group in groups:
            sums = self.arrays.setdefault(f"{measure}|{group}", np.zeros((2, len(values))))
            sums[0, counted] += values[counted]
            sums[1, counted] += 1

    def add_accuracy_loss(self, difference_mm: float) -> None:
        """Add one sample's mean error minus the reference's."""
        moments = np.array([1, difference_mm, difference_mm**2])
        self.arrays[ACCURACY_LOSS] = self.arrays.get(ACCURACY_LOSS, np.zeros(3)) + moments

    def add_largest(self, error_mm: float) -> None:
        """Update the largest distance from the reference; NaN stays."""
        self.arrays[LARGEST] = np.maximum(self.arrays.get(LARGEST, np.zeros(1)), error_mm)

    def groups(self, measure: str) -> list[str]:
        """Return the groups with a counted value, without the group of all samples."""
        return sorted(key.partition("|")[2] for key in self.arrays if key.startswith(f"{measure}|") and key[-1] != "|")

    def mean(self, measure: str, group: str = ALL) -> float | None:
        """Return the mean over all joints of all samples; None without a counted value."""
        sums = self.arrays.get(f"{measure}|{group}")
        return None if sums is None or not sums[1].any() else float(sums[0].sum() / sums[1].sum())

    def joint_means(self, measure: str) -> list[float | None]:
        """Return (J) means; None for a joint without a counted value."""
        sums = self.arrays.get(f"{measure}|{ALL}")
        return [] if sums is None else [s / n if n else None for s, n in sums.T.tolist()]

    def largest(self) -> float | None:
        """Return the largest distance from the reference."""
        return float(self.arrays[LARGEST][0]) if LARGEST in self.arrays else None

    def accuracy_loss(self) -> tuple[float, float | None, float | None] | None:
        """Return the mean accuracy loss and its 95 % interval (normal, from the spread of the samples).

        Differences are paired: both models have the same images, so the difficulty of an image cancels. One sample
        has no interval.
        """
        count, total, squares = self.arrays.get(ACCURACY_LOSS, np.zeros(3)).tolist()
        if not count:
            return None
        mean = total / count
        if count < 2:
            return mean, None, None
        variance = max(0.0, squares / count - mean**2) * count / (count - 1)
        half = NORMAL_95 * float(np.sqrt(variance / count))
        return mean, mean - half, mean + half


def add_sample(
    tally: Tally, dataset: Dataset, sample: Sample, volume: Volume, bins: Array, reference: Array | None
) -> float | None:
    """Add the errors of (J, 3) ``bins`` for one sample.

    The distance from the ``reference`` bins is in mm of the volume's cube, as in parity.

    Returns:
        The mean error in mm; None if the annotation has no millimetres.
    """
    counted = np.zeros(len(bins), bool)
    counted[list(dataset.counted)] = True
    groups = (ALL,) if sample.group is None else (ALL, sample.group)
    if reference is not None:
        distances_mm = joint_errors(bins * volume.bin_mm, reference * volume.bin_mm)
        tally.add(REFERENCE_MM, (ALL,), distances_mm, np.ones_like(counted))
        tally.add_largest(float(distances_mm.max()))
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
    """Return the (..., J) Euclidean distances of (..., J, D) joints; their mean is the MPJPE."""
    errors: Array = np.linalg.norm(predicted - truth, axis=-1)
    return errors


def rigidly_aligned(predicted: Array, truth: Array, counted: NDArray[np.bool_]) -> Array:
    """Rotate and move ``predicted`` (J, 3) to the least squared distance from ``truth`` (J, 3).

    Only ``counted`` (J,) joints have weight. There is no scale, as in protocol 1 of the released evaluation. The
    rotation is the SVD of the covariance, with the sign that excludes a mirror (Kabsch 1976, Acta Crystallographica
    A32). The result is NaN for fewer than three counted joints, and for a prediction that is not finite.
    """
    if counted.sum() < 3 or not np.isfinite(predicted[counted]).all():
        return np.full_like(predicted, np.nan)
    predicted_mean, truth_mean = predicted[counted].mean(axis=0), truth[counted].mean(axis=0)
    covariance = (predicted[counted] - predicted_mean).T @ (truth[counted] - truth_mean)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    aligned: Array = (predicted - predicted_mean) @ (u @ sign @ vt) + truth_mean
    return aligned
