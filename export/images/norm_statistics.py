"""Comparison of images with a network's BatchNorm statistics, which describe its training images.

A trained network's running means and variances describe the inputs of its norms on the images of its training.
Images of another kind give other means and variances. The comparison needs no annotation and no training data.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.common.errors import BadInput
from export.common.plain import finite_or_none
from export.common.progress import Progress, no_progress
from export.model.network import BATCH_NORM_EPS, ConvNeXtPose
from export.runtime.pose import normalise

Verdict = Literal["known", "unknown", "not available"]
Array = NDArray[np.float64]

SCHEMA_VERSION = "1.0"
DEAD_VARIANCE = 1e-12
"""Variance below which a channel is dead: with an epsilon of 1e-5 its output varies by at most 0.0004 standard
deviations. A channel that is dead both in training and on these images is not compared."""
ENOUGH_IMAGES = 64
"""Images for which ``LIMITS`` hold, and the most that ``measure_images`` runs."""
BATCH = 4


@dataclass(frozen=True)
class Limits:
    """Largest mismatch of images of a known kind."""

    mean_shift: float
    log_variance_ratio: float

    def for_count(self, images: int) -> "Limits":
        """Return the limits for this number of images; they widen with the sampling error of few images."""
        factor = math.sqrt(ENOUGH_IMAGES / min(max(images, 1), ENOUGH_IMAGES))
        return Limits(self.mean_shift * factor, self.log_variance_ratio * factor)


LIMITS = Limits(mean_shift=0.06, log_variance_ratio=0.1)
"""The only thresholds of the comparison, fitted on planted mismatches (docs/precision.md has tables).

Of random sets of 64 images of a known kind, 99 in 100 stayed below 0.03 and 0.052. Drawn figures reached 0.041 and
0.078 for a network trained on photographs; photographs 0.216 and 0.466 for a network trained on drawn figures.
Simulated INT8 errors beyond the limits were at least twice those on known images, except for images of less than half
the resolution, half the contrast, in grey or inverted. The comparison has blind spots: photographs upside down (0.059)
count as known, and channels in the wrong order (BGR) are near the limit: 0.077 for one network, 0.053 for another.
"""


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Mean and variance of each channel of one norm's input."""

    mean: Array
    variance: Array


@dataclass(frozen=True)
class NormMismatch:
    """Mismatch of one norm: medians over its compared channels."""

    norm: str
    channels: int
    compared: int
    """Channels that are not dead."""
    mean_shift: float
    log_variance_ratio: float


@dataclass(frozen=True)
class ImageStatistics:
    """Mismatch of images and stored statistics: medians over the compared channels of all norms."""

    verdict: Verdict
    reason: str
    mean_shift: float | None
    """|mean - running mean| / sqrt(running variance + epsilon)."""
    log_variance_ratio: float | None
    """|ln((variance + epsilon) / (running variance + epsilon))|."""
    images: int = 0
    limits: Limits = LIMITS
    norms: tuple[NormMismatch, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the result without the rows of the norms, as plain data; null where a number is not finite."""
        values = asdict(self)
        del values["norms"]
        return dict(finite_or_none(values))

    def as_json(self) -> dict[str, Any]:
        """Return the whole result as plain data; null where a number is not finite."""
        rows = finite_or_none([asdict(norm) for norm in self.norms])
        return {"schema_version": SCHEMA_VERSION, **self.summary(), "norms": rows}


class ChannelMoments:
    """Mean and variance of each channel, accumulated batch by batch in FP64."""

    def __init__(self) -> None:
        self.images = 0
        self.count = 0
        self.mean = torch.zeros((), dtype=torch.float64)
        self.squares = torch.zeros((), dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Add (N, C, H, W) values."""
        self.images += len(values)
        count = values.numel() // values.shape[1]
        variance, mean = (part.double() for part in torch.var_mean(values, dim=(0, 2, 3), correction=0))
        step, total = mean - self.mean, self.count + count
        self.squares = self.squares + count * variance + step**2 * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total

    def statistics(self) -> ChannelStatistics:
        """Return the statistics of everything that was added."""
        return ChannelStatistics(self.mean.numpy(), (self.squares / max(self.count, 1)).numpy())


@contextmanager
def observe_norms(network: nn.Module) -> Iterator[dict[str, ChannelMoments]]:
    """Record the channel moments of every norm's input while the network runs within the block."""
    norms = _norms(network)
    moments = {name: ChannelMoments() for name in norms}
    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, to=moments[name]: to.add(inputs[0]))
        for name, norm in norms.items()
    ]
    try:
        yield moments
    finally:
        for hook in hooks:
            hook.remove()


def judge_images(network: nn.Module, moments: Mapping[str, ChannelMoments]) -> ImageStatistics:
    """Compare recorded moments with the statistics that the network stores."""
    stored, observed, images = {}, {}, max((moment.images for moment in moments.values()), default=0)
    for name, norm in _norms(network).items():
        if norm.running_mean is None or norm.running_var is None:
            return _not_available(f"{name} does not track running statistics", images)
        stored[name] = ChannelStatistics(norm.running_mean.double().numpy(), norm.running_var.double().numpy())
        observed[name] = moments[name].statistics()
    return compare_statistics(stored, observed, images)


@torch.inference_mode()
def measure_images(
    network: ConvNeXtPose, images: NDArray[np.uint8], progress: Progress = no_progress
) -> ImageStatistics:
    """Run the network on at most ``ENOUGH_IMAGES`` of (N, S, S, 3) RGB pixels, evenly chosen, and compare."""
    chosen = images[np.linspace(0, len(images) - 1, min(len(images), ENOUGH_IMAGES)).astype(int)]
    with observe_norms(network) as moments:
        for start in range(0, len(chosen), BATCH):
            progress("statistics of the images", start / len(chosen))
            network.head(network.backbone(network.entry(torch.from_numpy(normalise(chosen[start : start + BATCH])))))
    return judge_images(network, moments)


def compare_statistics(
    stored: Mapping[str, ChannelStatistics], observed: Mapping[str, ChannelStatistics], images: int
) -> ImageStatistics:
    """Compare the statistics of norms by name; a number that is not finite makes the images unknown."""
    limits = LIMITS.for_count(images)
    if reason := _defect(stored, limits):
        return _not_available(reason, images)
    shifts, ratios, rows = [], [], []
    for name, norm in stored.items():
        shift, ratio = _mismatch(norm, observed[name])
        rows.append(NormMismatch(name, len(norm.mean), len(shift), _median(shift), _median(ratio)))
        shifts.append(shift)
        ratios.append(ratio)
    shift_median, ratio_median = _median(np.concatenate(shifts)), _median(np.concatenate(ratios))
    verdict, reason = _decide(shift_median, ratio_median, limits)
    return ImageStatistics(verdict, reason, shift_median, ratio_median, images, limits, tuple(rows))


def require_known(statistics: ImageStatistics, source: str) -> None:
    """Check that calibration images match the network's statistics.

    Raises:
        BadInput: they do not match.
    """
    if statistics.verdict == "unknown":
        do = "pass --calibration DIR with crops like the network's training images"
        raise BadInput(
            "the calibration images do not match the network's training images", f"{source}: {statistics.reason}", do
        )


def _norms(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}


def _not_available(reason: str, images: int) -> ImageStatistics:
    return ImageStatistics("not available", reason, None, None, images, LIMITS.for_count(images))


def _defect(stored: Mapping[str, ChannelStatistics], limits: Limits) -> str:
    """Return why stored statistics cannot distinguish images; empty if they can."""
    if not stored:
        return "the network has no BatchNorm"
    for name, norm in stored.items():
        if not (np.isfinite(norm.mean).all() and np.isfinite(norm.variance).all() and (norm.variance >= 0).all()):
            return f"the running statistics of {name} are not finite, or a variance is negative"
    if all((norm.mean == 0).all() and (norm.variance == 1).all() for norm in stored.values()):
        return "every norm has its initial statistics (mean 0, variance 1)"
    variances = np.concatenate([norm.variance for norm in stored.values()])
    alive = variances[variances > DEAD_VARIANCE]
    if not len(alive):
        return "every running variance is zero"
    flat = float(np.median(np.log1p(alive / BATCH_NORM_EPS)))
    if not flat > limits.log_variance_ratio:
        return (
            f"images without any content have a median log variance ratio of {flat:.3g}, "
            f"within the limit of {limits.log_variance_ratio:.3g}"
        )
    return ""


def _mismatch(stored: ChannelStatistics, observed: ChannelStatistics) -> tuple[Array, Array]:
    """Return mean shifts and log variance ratios of the channels that are not dead."""
    alive = ~((stored.variance <= DEAD_VARIANCE) & (observed.variance <= DEAD_VARIANCE))
    running = stored.variance[alive] + BATCH_NORM_EPS
    shift = np.abs(observed.mean[alive] - stored.mean[alive]) / np.sqrt(running)
    ratio = np.abs(np.log((observed.variance[alive] + BATCH_NORM_EPS) / running))
    return shift, ratio


def _median(values: Array) -> float:
    """Return the median; NaN if a value is NaN or there are no values."""
    return float(np.median(values)) if len(values) else math.nan


def _decide(mean_shift: float, log_variance_ratio: float, limits: Limits) -> tuple[Verdict, str]:
    figures = (
        f"median mean shift {mean_shift:.3g} (allowed {limits.mean_shift:.3g}), "
        f"median log variance ratio {log_variance_ratio:.3g} (allowed {limits.log_variance_ratio:.3g})"
    )
    if mean_shift <= limits.mean_shift and log_variance_ratio <= limits.log_variance_ratio:
        return "known", f"the images match the network's BatchNorm statistics: {figures}"
    return "unknown", f"the images do not match the network's BatchNorm statistics: {figures}"
