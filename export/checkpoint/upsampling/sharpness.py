"""How the weight of a volume is spread: what is shown of it beside the evidence that decides."""

import torch
from torch import Tensor

from export.model.pose import Volume


def entropy_share(logits: Tensor, joints: int) -> Tensor:
    """(N, J * D, H, W) → (N, J): the volume's entropy as a share of the largest possible, log(D·H·W).

    0 where one bin holds everything, 1 where all hold the same.
    """
    volume = logits.reshape(len(logits), joints, -1)
    log_p = volume.log_softmax(dim=2)
    entropy = -(log_p.exp() * log_p).sum(dim=2)
    return entropy / torch.tensor(float(volume.shape[2])).log()


def mode_distance_mm(logits: Tensor, expected: Tensor, volume: Volume) -> Tensor:
    """(N, J * D, H, W) and decoded joints (N, J, 3) in bins → (N, J): mm from these to the fullest bin, in the cube."""
    edge = volume.heatmap_size
    fullest = logits.reshape(len(logits), expected.shape[1], -1).argmax(dim=2)
    mode = torch.stack([fullest % edge, fullest // edge % edge, fullest // edge**2], dim=2)
    bin_mm = torch.tensor(volume.bin_mm, dtype=expected.dtype)
    distance: Tensor = torch.linalg.vector_norm((expected - mode) * bin_mm, dim=2)
    return distance
