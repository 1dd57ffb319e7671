"""Scales of int8 inputs, from what really passes through a network on calibration images."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.image_set import Images
from export.network import ConvNeXtPose
from export.pose import normalise
from export.progress import Progress, silent

LARGEST = 127
"""int8 without a zero point: -127 to 127 (-128 has no counterpart)."""
SMALLEST_SCALE, LARGEST_SCALE = float(np.finfo(np.float16).smallest_normal), float(np.finfo(np.float16).max)
"""Graphs in half precision store their scales in float16; its subnormal numbers are left alone."""
BINS = 2048
CLIPS = np.linspace(0.15, 1.0, 86)
"""Shares of the largest value that are tried as the largest representable one."""
BATCH = 8


@dataclass
class Seen:
    """Absolute values at one convolution's input."""

    largest: float = 0.0
    histogram: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    """Of |x| from 0 to ``largest``."""

    @property
    def scale(self) -> float:
        """What one step of int8 is worth, where the mean square error of rounding and clipping is smallest.

        A few large values are worth clipping when all others gain resolution by it; the histogram tells.
        """
        if not self.largest > 0:
            return 1.0 / LARGEST
        centres = (np.arange(BINS) + 0.5) * self.largest / BINS
        scales = CLIPS * self.largest / LARGEST
        rounded = np.clip(np.rint(centres / scales[:, None]), 0, LARGEST) * scales[:, None]
        errors = ((rounded - centres) ** 2 * self.histogram).sum(axis=1)
        return float(scales[int(np.argmin(errors))])


@torch.inference_mode()
def activation_scales(
    network: ConvNeXtPose, names: Iterable[str], images: Images, progress: Progress = silent
) -> dict[str, float]:
    """Module name → scale of its input. Two passes: the largest values, then their histograms."""
    seen = {name: Seen() for name in names}

    def measure(name: str, x: Tensor) -> None:
        seen[name].largest = max(seen[name].largest, float(x.abs().max()))

    def count(name: str, x: Tensor) -> None:
        of = seen[name]
        if of.largest > 0:
            of.histogram += torch.histc(x.abs().float(), BINS, 0, of.largest).double().numpy()

    for share, look in enumerate((measure, count)):
        with _looking_at_inputs(network, seen, look):
            for start in range(0, len(images), BATCH):
                progress("ranges", (share + start / len(images)) / 2)
                network(torch.from_numpy(normalise(images[start : start + BATCH])))
    return {name: of.scale for name, of in seen.items()}


def stored_scale(scale: float) -> float:
    """The next value from ``scale`` upwards that float16 has as a normal number; infinite if it has none."""
    if not scale <= LARGEST_SCALE:
        return math.inf
    half = np.float16(max(scale, SMALLEST_SCALE))
    return float(half if float(half) >= scale else np.nextafter(half, np.float16(np.inf)))


@contextmanager
def _looking_at_inputs(network: nn.Module, names: Iterable[str], look: Any) -> Iterator[None]:
    handles = [
        network.get_submodule(name).register_forward_pre_hook(lambda _, args, name=name: look(name, args[0]))
        for name in names
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
