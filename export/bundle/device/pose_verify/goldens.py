"""The golden images, the reference model's joints for them, and the judgement of a session's joints."""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pose_runtime.bundle import Bundle
from pose_runtime.runtime.errors import CheckFailed
from pose_runtime.runtime.pose import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Goldens(NamedTuple):
    """Images and joints that every session is judged by."""

    images: NDArray[np.uint8]
    """(N, S, S, 3) RGB crops."""
    truth: NDArray[np.float64]
    """(N, J, 3) joints in bins: the reference model in FP64."""
    volume: Volume

    @property
    def signal_mm(self) -> float:
        """Spread of the truth's joints over images, or over joints, whichever is less: root mean square, mm."""
        spreads = []
        for axis in (0, 1):
            away = (self.truth - self.truth.mean(axis=axis, keepdims=True)) * self.volume.bin_mm
            spreads.append(float(np.sqrt((away**2).sum(axis=2).mean())))
        return min(spreads)


def read_goldens(bundle: Bundle) -> Goldens:
    """Read a bundle's goldens.

    Raises:
        CheckFailed: the file is not the manifest's, or has other shapes than the manifest says.
    """
    entry, volume = bundle.manifest["golden"], bundle.volume
    content = bundle.content(entry["path"])
    try:
        images, truth = read_arrays(content, "images", "truth")
    except Exception as error:  # NumPy and zipfile raise a dozen kinds, and MemoryError
        advice = "ask for a new bundle"
        raise CheckFailed("the goldens cannot be read", f"{type(error).__name__}: {error}", advice) from error
    size, joints = volume.input_size, len(bundle.manifest["joints"]["names"])
    expected = (("uint8", (entry["count"], size, size, 3)), ("float64", (entry["count"], joints, 3)))
    arrays = tuple((str(array.dtype), array.shape) for array in (images, truth))
    if arrays != expected:
        advice = f"copy the bundle again; its manifest says {expected}"
        raise CheckFailed("the goldens are not what the manifest says", str(arrays), advice)
    return Goldens(images, truth, volume)


def read_arrays(content: bytes, *names: str) -> list[NDArray[Any]]:
    """Return arrays of an ``.npz`` file, none of which is compressed: a small file must not fill the memory.

    Raises:
        ValueError: a file in it is compressed, or is no array.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("an array is compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return [file[name] for name in names]


def judge(goldens: Goldens, bins: NDArray[Any], limits: list[dict[str, Any]], needed_mm: float) -> dict[str, Any]:
    """Compare the joints of all goldens with the truth; comparisons are written so that NaN fails.

    Args:
        goldens: the images and the truth.
        bins: (N, J, 3) joints of a session.
        limits: the manifest's for this precision: statistic, allowed_mm and reason.
        needed_mm: spread of the truth below which any joints would agree with any.
    """
    errors = np.linalg.norm((np.asarray(bins, np.float64) - goldens.truth) * goldens.volume.bin_mm, axis=2)
    mm = {"mean": float(errors.mean()), "p99": nearest_rank(errors, 0.99), "max": float(errors.max())}
    spread = goldens.signal_mm
    result: dict[str, Any] = {
        f"{name}_mm": value if math.isfinite(value) else None for name, value in {**mm, "signal": spread}.items()
    }
    result.update(images=len(errors), limits=limits)
    if not spread >= needed_mm:
        reason = f"the goldens' joints spread {spread:.3g} mm; below {needed_mm:g} mm anything agrees"
        return dict(result, outcome="inconclusive", reason=reason)
    if not limits:
        return dict(result, outcome="inconclusive", reason="the manifest names no limit for this precision")
    for limit in limits:
        value = mm[limit["statistic"]]
        if not value <= limit["allowed_mm"]:
            reason = f"{limit['statistic']} error {value:.3g} mm, allowed {limit['allowed_mm']:.3g}: {limit['reason']}"
            return dict(result, outcome="fail", reason=reason)
    return dict(result, outcome="pass", reason=f"mean {mm['mean']:.3g} mm, max {mm['max']:.3g} mm")


def nearest_rank(values: Any, quantile: float) -> float:
    """Return the smallest value that at least this share of all does not exceed; NaN among them gives NaN.

    This is NumPy's ``inverted_cdf``, which NumPy 1.21 of JetPack 6 does not have.
    """
    flat = np.sort(np.asarray(values, np.float64).reshape(-1))
    if np.isnan(flat).any():
        return math.nan
    return float(flat[max(0, math.ceil(quantile * flat.size) - 1)])


def batch_slices(count: int, largest: int) -> list[slice]:
    """Return slices that cover all images: one image alone, then the largest batches, so that both sizes run."""
    ends = [0, 1, *range(1 + largest, count, largest), count]
    return [slice(start, end) for start, end in zip(ends, ends[1:])]
