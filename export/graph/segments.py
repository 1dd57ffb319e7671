"""A network as a chain of segments, which can be run from the middle on cached activations.

    entry → stem → blocks → downsampling → … → last norm → head layers → final layer → decode

A segment has one input and one output; a block includes its residual sum. Segments are the units that a plan keeps in
FP32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.images.image_set import Images
from export.model.network import ConvNeXtPose
from export.runtime.pose import normalise

BATCH = 4


@dataclass(frozen=True, eq=False)
class Segment:
    """One link of the chain."""

    name: str
    """The module's name in the network."""
    module: nn.Module

    @property
    def convs(self) -> dict[str, nn.Conv2d]:
        """Its convolutions by their names in the network, in data order."""
        modules = self.module.named_modules(prefix=self.name)
        return {name: module for name, module in modules if isinstance(module, nn.Conv2d)}


def segments(network: ConvNeXtPose) -> tuple[Segment, ...]:
    """Split any form of a network into its segments, in data order."""
    backbone, head = network.backbone, network.head
    modules: list[nn.Module] = []
    for downsampling, stage in zip(backbone.downsamplings, backbone.stages, strict=True):
        modules += [downsampling, *stage.children()]
    modules += [backbone.norm, *head.layers, head.final_layer]
    names = {module: name for name, module in network.named_modules()}
    return tuple(Segment(names[module], module) for module in modules)


def first_input(network: ConvNeXtPose, images: Images) -> Tensor:
    """Return the first segment's input on (N, S, S, 3) RGB pixels: (N, C, H, W) in the type of the network."""
    dtype = next(network.parameters()).dtype
    return in_batches(network.entry, torch.from_numpy(normalise(images)).to(dtype))


@torch.inference_mode()
def run_from(network: ConvNeXtPose, index: int, x: Tensor) -> Tensor:
    """Run the network from segment ``index`` on its input ``x``; returns (N, J, 3) joints in bins."""
    modules = [segment.module for segment in segments(network)[index:]]

    def run(part: Tensor) -> Tensor:
        for module in modules:
            part = module(part)
        joints: Tensor = network.decode(part)
        return joints

    return in_batches(run, x)


def in_batches(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply ``function`` to ``BATCH`` images at a time, which fit into a processor's caches."""
    return torch.cat([function(part) for part in torch.split(x, BATCH)])
