"""The golden images, the joints that the reference has of them, and the judgement of a network's own."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pose_runtime.bundle import Bundle
from pose_runtime.runtime.errors import CheckFailed
from pose_runtime.runtime.pose import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Goldens(NamedTuple):
    """What every network is judged on."""

    images: NDArray[np.uint8]
    """(N, S, S, 3) RGB crops."""
    truth: NDArray[np.float64]
    """(N, J, 3) joints in bins: the network as released, in FP64."""
    volume: Volume

    @classmethod
    def of(cls, bundle: Bundle) -> Goldens:
        """A bundle's.

        Raises:
            CheckFailed: the file is not the manifest's, or not what the manifest says of it.
        """
        about = bundle.manifest["golden"]
        with np.load(io.BytesIO(bundle.content(about["path"])), allow_pickle=False) as file:
            images, truth = file["images"], file["truth"]
        size, joints = bundle.manifest["preprocessing"]["input_size"], len(bundle.manifest["joints"]["names"])
        want = ((about["count"], size, size, 3), (about["count"], joints, 3))
        if (images.shape, truth.shape) != want:
            do = f"copy the bundle again; wanted are {want}"
            raise CheckFailed("the goldens are not what the manifest says", f"{images.shape}, {truth.shape}", do)
        return cls(images, truth, Volume(**bundle.manifest["volume"]))

    @property
    def signal_mm(self) -> float:
        """How far the truth's joints spread over images, or over joints, whichever is less: root mean square, mm."""
        spreads = []
        for axis in (0, 1):
            away = np.linalg.norm((self.truth - self.truth.mean(axis=axis, keepdims=True)) * self.volume.bin_mm, axis=2)
            spreads.append(float(np.sqrt((away**2).mean())))
        return min(spreads)


def judge(goldens: Goldens, bins: NDArray[Any], limits: list[dict[str, Any]], needed_mm: float) -> dict[str, Any]:
    """The joints of all goldens against the truth; comparisons are written so that NaN fails.

    Args:
        goldens: the images and the truth.
        bins: (N, J, 3) the network's joints.
        limits: the manifest's for this precision: statistic, allowed_mm and reason.
        needed_mm: below this spread of the truth anything agrees with anything.
    """
    away = (np.asarray(bins, np.float64) - goldens.truth) * goldens.volume.bin_mm
    distances = np.linalg.norm(away, axis=2)
    seen = {"mean": float(distances.mean()), "p99": nearest_rank(distances, 0.99), "max": float(distances.max())}
    spread = goldens.signal_mm
    figures = {**seen, "signal": spread}
    result: dict[str, Any] = {f"{name}_mm": v if math.isfinite(v) else None for name, v in figures.items()}
    result.update(images=len(distances), limits=limits)
    if not spread >= needed_mm:
        reason = f"the goldens' joints spread {spread:.3g} mm; below {needed_mm:g} mm anything agrees"
        return dict(result, outcome="inconclusive", reason=reason)
    if not limits:
        return dict(result, outcome="inconclusive", reason="the manifest names no limit for this precision")
    for limit in limits:
        own = seen[limit["statistic"]]
        if not own <= limit["allowed_mm"]:
            reason = f"{limit['statistic']} distance {own:.3g} mm, allowed {limit['allowed_mm']:.3g}: {limit['reason']}"
            return dict(result, outcome="fail", reason=reason)
    return dict(result, outcome="pass", reason=f"mean {seen['mean']:.3g} mm, max {seen['max']:.3g} mm")


def nearest_rank(values: Any, quantile: float) -> float:
    """The smallest value that at least this share of all does not exceed; NaN among them gives NaN."""
    flat = np.sort(np.asarray(values, np.float64).reshape(-1))
    if np.isnan(flat).any():
        return math.nan
    return float(flat[max(0, math.ceil(quantile * flat.size) - 1)])


def in_batches(count: int, largest: int) -> list[tuple[int, int]]:
    """``(16, 5)`` → from and to of each batch: one alone, and then as many as go in, so that both sizes are run."""
    ends = [0, 1, *range(1 + largest, count, largest), count]
    return list(zip(ends, ends[1:]))
