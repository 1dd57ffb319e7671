"""Rounding with error feedback: the remaining weights take up the rounding error of each weight.

Rounding to nearest treats each weight alone. The inputs of a convolution are correlated (neighbouring pixels are alike,
means are not zero), so that single errors add up: the stem's filters nearly sum to zero, and rounding unbalances them.
With H = E[x·xᵀ] over calibration images, the error of an output is ΔwᵀHΔw, and the best correction of the remaining
weights has a closed form (optimal brain surgeon, Hassibi and Stork 1993; GPTQ, Frantar et al. 2022). The bias is one
more weight with input 1. The result has the same size and speed; only its last digits differ.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Grid = Callable[[Tensor, int], Tensor]
"""Rounds the (G, O) values of the column with this index to the nearest values that can be stored."""

DAMPING = 1e-4
"""Share of its mean that is added to the diagonal of H, so that directions that calibration hardly shows stay. With
1e-6 to 1e-2 the error of the FP16 network differed by less than a tenth."""
BLOCK = 64
"""Number of columns after which the rest is corrected; for speed alone."""


def round_with_feedback(weights: Tensor, moments: Tensor, grid: Grid) -> Tensor:
    """Round weights column by column, and correct the remaining columns.

    Args:
        weights: (G, O, K) FP64: groups, outputs of each, inputs of each.
        moments: (G, K, K) FP64, E[x·xᵀ] of each group's inputs.
        grid: rounds a column.

    Returns:
        (G, O, K) FP64 on the grid.
    """
    columns = weights.shape[2]
    diagonal = moments.diagonal(dim1=1, dim2=2)
    # The most important columns go first, while many others can still take up their error.
    order = torch.argsort((weights.square().mean(dim=1) * diagonal).mean(dim=0), descending=True)
    remaining = weights[:, :, order].clone()
    damped = moments[:, order][:, :, order] + torch.diag_embed(
        (DAMPING * diagonal.mean(dim=1, keepdim=True)).clamp_min(torch.finfo(torch.float64).tiny).expand_as(diagonal)
    )
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper = torch.linalg.cholesky(inverse, upper=True)
    rounded = torch.empty_like(remaining)
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        errors = torch.empty_like(remaining[:, :, start:end])
        for i in range(start, end):
            rounded[:, :, i] = grid(remaining[:, :, i], int(order[i]))
            error = (remaining[:, :, i] - rounded[:, :, i]) / upper[:, None, i, i]
            errors[:, :, i - start] = error
            remaining[:, :, i + 1 : end] -= error[:, :, None] * upper[:, None, i, i + 1 : end]
        remaining[:, :, end:] -= errors @ upper[:, start:end, end:]
    restored = torch.empty_like(rounded)
    restored[:, :, order] = rounded
    return restored
