"""Largest values of a half graph on images, measured in PyTorch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.common.progress import Progress, no_progress
from export.graph.precision import HALF, half_graph
from export.graph.ranges import Ranges
from export.model.network import ConvNeXtPose
from export.plan.planned import stored_values
from export.runtime.pose import normalise


@torch.inference_mode()
def measure_ranges(
    reference: ConvNeXtPose,
    precision: str,
    images: NDArray[np.uint8],
    batch: int,
    progress: Progress = no_progress,
) -> Ranges:
    """Measure the largest values that the half graph would store, in FP32, on (N, S, S, 3) RGB pixels."""
    network = half_graph(reference, torch.float32)
    largest: dict[str, Tensor] = {}

    def record(name: str, value: Tensor) -> None:
        peak = value.abs().max()
        largest[name] = torch.maximum(largest.get(name, peak), peak)  # keeps NaN

    for name, module in stored_values(network):
        module.register_forward_hook(lambda _module, _inputs, value, name=name: record(name, value))
    for start in range(0, len(images), batch):
        progress("ranges, float32", start / len(images))
        network(torch.from_numpy(normalise(images[start : start + batch])))
    activations = {name: float(value) for name, value in largest.items()}
    weights = {name: float(weight.abs().max()) for name, weight in network.named_parameters()}
    return Ranges(torch.finfo(HALF[precision]).max, len(images), activations, weights)
