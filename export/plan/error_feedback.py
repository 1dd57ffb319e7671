"""Rounding with error feedback: what one weight loses by being rounded, the weights after it take up.

Rounding to nearest treats each weight alone. The inputs of a convolution are correlated (neighbouring pixels are alike,
means are not zero), so that single errors add up: the stem's filters are nearly zero-sum, and rounding unbalances them.
With H = E[x·xᵀ] over calibration images, the error of an output is ΔwᵀHΔw, and the best correction of the weights that
are still free is known in closed form (optimal brain surgeon, Hassibi and Stork 1993; GPTQ, Frantar et al. 2022). The
bias is one more weight, whose input is 1. The result has the same size and speed; only its last digits differ.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Grid = Callable[[Tensor, int], Tensor]
"""(G, O) values of one column, and its index → the nearest values that can be stored."""

DAMPING = 1e-4
"""Added to the diagonal of H, as a share of its mean: directions that calibration hardly shows are left alone. With
1e-6 to 1e-2 the error of the FP16 network differed by less than a tenth."""
BLOCK = 64
"""Columns whose corrections are applied to the rest at once; for speed alone."""
ROWS = 4096
"""Input patches from which H is taken, over all images. More than the largest convolution has inputs."""


def round_with_feedback(weights: Tensor, moments: Tensor, grid: Grid) -> Tensor:
    """Round weights one column after the other, and correct the columns that are still free.

    Args:
        weights: (G, O, K) FP64: groups, outputs of each, inputs of each.
        moments: (G, K, K) FP64, E[x·xᵀ] of each group's inputs.
        grid: rounds a column.

    Returns:
        (G, O, K) FP64 on the grid.
    """
    columns = weights.shape[2]
    diagonal = moments.diagonal(dim1=1, dim2=2)
    # The columns with the most to lose go first, while many others can still take up their error.
    order = torch.argsort((weights.square().mean(dim=1) * diagonal).mean(dim=0), descending=True)
    rest = weights[:, :, order].clone()
    damped = moments[:, order][:, :, order] + torch.diag_embed(
        (DAMPING * diagonal.mean(dim=1, keepdim=True)).clamp_min(torch.finfo(torch.float64).tiny).expand_as(diagonal)
    )
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper = torch.linalg.cholesky(inverse, upper=True)
    rounded = torch.empty_like(rest)
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        errors = torch.empty_like(rest[:, :, start:end])
        for i in range(start, end):
            rounded[:, :, i] = grid(rest[:, :, i], int(order[i]))
            error = (rest[:, :, i] - rounded[:, :, i]) / upper[:, None, i, i]
            errors[:, :, i - start] = error
            rest[:, :, i + 1 : end] -= error[:, :, None] * upper[:, None, i, i + 1 : end]
        rest[:, :, end:] -= errors @ upper[:, start:end, end:]
    restored = torch.empty_like(rounded)
    restored[:, :, order] = rounded
    return restored


def as_columns(conv: nn.Conv2d) -> Tensor:
    """Return a convolution's weights and bias as (G, O, K + 1) FP64; the last column is the bias."""
    assert conv.bias is not None
    weight = conv.weight.detach().double().reshape(conv.groups, conv.out_channels // conv.groups, -1)
    return torch.cat([weight, conv.bias.detach().double().reshape(conv.groups, -1, 1)], dim=2)


def from_columns(conv: nn.Conv2d, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias, FP64, in the shapes that ``conv`` has: the inverse of ``as_columns``."""
    return columns[:, :, :-1].reshape(conv.weight.shape), columns[:, :, -1].reshape(conv.out_channels)


def input_moments(patches: Tensor) -> Tensor:
    """Return the (G, K + 1, K + 1) FP64 second moments of (G, M, K + 1) patches."""
    return (patches.transpose(1, 2) @ patches).double() / patches.shape[1]


def sample_patches(conv: nn.Conv2d, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Take ``count`` input patches of each image, at random places, with a 1 for the bias behind each.

    Args:
        conv: the convolution that reads ``x``; depthwise, or with one group.
        x: (N, C, H, W) its input.
        count: patches of each image; at most as many as it has.
        generator: chooses the places, the same for all images and groups.

    Returns:
        (G, N · count, K + 1) in the type of ``x``.
    """
    kernel, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    padded = nn.functional.pad(x, (padding,) * 4)
    height, width = ((size - kernel) // stride + 1 for size in padded.shape[2:])
    places = torch.randperm(height * width, generator=generator)[:count]
    windows = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)  # (N, C, h, w, k, k): a view
    chosen = windows[:, :, places // width, places % width]  # (N, C, count, k, k)
    by_group = chosen.reshape(len(x), conv.groups, -1, len(places), kernel * kernel)
    rows = by_group.permute(1, 0, 3, 2, 4).reshape(conv.groups, len(x) * len(places), -1)
    return torch.cat([rows, torch.ones(*rows.shape[:2], 1, dtype=x.dtype)], dim=2)
