"""A convolution as a matrix product: patches of its input times columns of its weights."""

import math
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from export.common.errors import CheckFailed
from export.common.progress import Progress, no_progress
from export.graph.segments import Segment, first_input, in_batches, segments
from export.images.image_set import Images
from export.model.network import ConvNeXtPose
from export.plan.equalization import bias_of

SEED = 0
"""Seed of the sampled positions."""
ROWS = 4096
"""Number of sampled patches over all images; more than the largest convolution has inputs."""
DEPTHWISE_ROWS = 1024
"""The same of a depthwise convolution, which has at most 49 inputs, but as many groups as channels."""
NOT_FINITE = "check the calibration images, and the checkpoint with `convnextpose inspect`"
"""Advice for values that are not finite."""


def as_columns(conv: nn.Conv2d) -> Tensor:
    """Return a convolution's weights and bias as (G, O, K + 1) FP64; the last column is the bias."""
    weight = conv.weight.detach().double().reshape(conv.groups, conv.out_channels // conv.groups, -1)
    return torch.cat([weight, bias_of(conv).detach().double().reshape(conv.groups, -1, 1)], dim=2)


def from_columns(conv: nn.Conv2d, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias, FP64, in the shapes of ``conv``: the inverse of ``as_columns``."""
    return columns[:, :, :-1].reshape(conv.weight.shape), columns[:, :, -1].reshape(conv.out_channels)


def input_moments(patches: Tensor) -> Tensor:
    """Return the (G, K + 1, K + 1) FP64 second moments of (G, M, K + 1) patches."""
    return (patches.transpose(1, 2) @ patches).double() / patches.shape[1]


@torch.no_grad()
def sampled_inputs(
    network: ConvNeXtPose, images: Images, names: Container[str] | None = None, progress: Progress = no_progress
) -> Iterator[tuple[Segment, Tensor, dict[str, Tensor]]]:
    """Yield every segment, its input, and samples of its convolutions' inputs (``sample_patches``), in one pass.

    Args:
        network: any form of the network that takes normalised images.
        images: (N, S, S, 3) RGB pixels.
        names: the convolutions; None for all.
        progress: called before each segment.

    Yields:
        Segment, (N, C, H, W) input, and convolution → (G, M, K + 1), image by image.

    Raises:
        CheckFailed: an input is not finite.
    """
    chain = segments(network)
    x = first_input(network, images)
    for index, segment in enumerate(chain):
        progress(f"activations, {segment.name}", index / len(chain))
        convs = {name: conv for name, conv in segment.convs.items() if names is None or name in names}
        with _sampling(convs, len(x)) as parts:
            output = in_batches(segment.module, x)
        patches = {name: torch.cat(samples, dim=1) for name, samples in parts.items()}
        parts.clear()
        if broken := [name for name, samples in patches.items() if not math.isfinite(samples.sum())]:
            problem = "the network's values on calibration images are not finite"
            raise CheckFailed(problem, f"input of {broken[0]}", NOT_FINITE)
        yield segment, x, patches
        x = output


@contextmanager
def _sampling(convs: Mapping[str, nn.Conv2d], images: int) -> Iterator[dict[str, list[Tensor]]]:
    """Collect patches that these convolutions read, the same number of each of ``images``."""
    parts: dict[str, list[Tensor]] = {name: [] for name in convs}
    generators = {name: torch.Generator().manual_seed(SEED) for name in convs}  # independent of other convolutions

    def sample(name: str, value: Tensor) -> None:
        rows = ROWS if convs[name].groups == 1 else DEPTHWISE_ROWS
        parts[name].append(sample_patches(convs[name], value, max(1, rows // images), generators[name]))

    hooks = [
        conv.register_forward_pre_hook(lambda _module, inputs, name=name: sample(name, inputs[0]))
        for name, conv in convs.items()
    ]
    try:
        yield parts
    finally:
        for hook in hooks:
            hook.remove()


def sample_patches(conv: nn.Conv2d, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` input patches of each image, at random positions, each followed by a 1 for the bias.

    Args:
        conv: the convolution that reads ``x``; depthwise, or with one group.
        x: (N, C, H, W) its input.
        count: patches of each image; at most as many as it has.
        generator: chooses the positions, the same for all images and groups.

    Returns:
        (G, N · count, K + 1) in the type of ``x``.
    """
    kernel, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    padded = nn.functional.pad(x, (padding,) * 4)
    height, width = ((size - kernel) // stride + 1 for size in padded.shape[2:])
    positions = torch.randperm(height * width, generator=generator)[:count]
    windows = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)  # (N, C, h, w, k, k): a view
    chosen = windows[:, :, positions // width, positions % width]  # (N, C, count, k, k)
    by_group = chosen.reshape(len(x), conv.groups, -1, len(positions), kernel * kernel)
    rows = by_group.permute(1, 0, 3, 2, 4).reshape(conv.groups, len(x) * len(positions), -1)
    return torch.cat([rows, torch.ones(*rows.shape[:2], 1, dtype=x.dtype)], dim=2)
