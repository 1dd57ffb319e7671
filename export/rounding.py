"""What half precision does to a network, seen in PyTorch: how large its values become, and what rounding costs.

Both walk over the same values: those that the half graph stores between its layers.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.network import Block, ConvNeXtPose
from export.pose import normalise
from export.precision import HALF, Cast, half_graph
from export.progress import Progress, silent
from export.ranges import Ranges


def graph_values(network: ConvNeXtPose) -> Iterator[tuple[str, nn.Module]]:
    """The modules of the body that give a value: layers, and blocks, whose value is the residual sum."""
    for name, module in network.named_modules():
        is_value = isinstance(module, Block) or not any(module.children())
        if is_value and not isinstance(module, nn.Identity | Cast) and not name.startswith("decode"):
            yield name, module


@torch.inference_mode()
def measure_ranges(
    reference: ConvNeXtPose,
    precision: str,
    images: NDArray[np.uint8],
    batch: int,
    progress: Progress = silent,
) -> Ranges:
    """The values that the half graph would store, computed in FP32 on (N, S, S, 3) RGB pixels."""
    network = half_graph(reference, torch.float32)
    largest: dict[str, Tensor] = {}

    def record(name: str, value: Tensor) -> None:
        seen = value.abs().max()
        largest[name] = torch.maximum(largest.get(name, seen), seen)  # keeps NaN

    for name, module in graph_values(network):
        module.register_forward_hook(lambda _module, _inputs, value, name=name: record(name, value))
    for start in range(0, len(images), batch):
        progress("ranges, float32", start / len(images))
        network(torch.from_numpy(normalise(images[start : start + batch])))
    activations = {name: float(value) for name, value in largest.items()}
    weights = {name: float(weight.abs().max()) for name, weight in network.named_parameters()}
    return Ranges(torch.finfo(HALF[precision]).max, len(images), activations, weights)


def rounded_network(reference: ConvNeXtPose, precision: str) -> ConvNeXtPose:
    """The half graph in FP32 arithmetic, in which every weight and every stored value is rounded.

    What it costs to be rounded, whoever computes: the distance that an artefact is compared with.
    """
    dtype = HALF[precision]
    network = half_graph(reference, torch.float32)
    network.load_state_dict(half_graph(reference, dtype).state_dict())
    for _, module in graph_values(network):
        module.register_forward_hook(lambda _module, _inputs, value: value.to(dtype).to(value.dtype))
    return network
