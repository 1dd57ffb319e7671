"""Training data: one batch of drawn figures per step."""

import numpy as np
import torch
from torch import Tensor

from export.images.figures import TRAIN_SEED, Figure, draw_figures
from export.model.architecture import Architecture
from export.model.pose import MEAN, STD

Batch = tuple[Tensor, Tensor]
"""(N, 256, 256, 3) uint8 RGB and (N, 18, 3) float32 bins."""


def training_batch(step: int, size: int, architecture: Architecture) -> Batch:
    """Draw the figures of one training step; no figure occurs twice."""
    return as_batch(draw_figures(size, TRAIN_SEED, first=step * size), architecture)


def as_batch(figures: list[Figure], architecture: Architecture) -> Batch:
    """Return images and true joints of figures."""
    bins = [figure.joints_bins(architecture.heatmap_size, architecture.depth_dim) for figure in figures]
    images = np.stack([figure.image for figure in figures])
    return torch.from_numpy(images), torch.from_numpy(np.stack(bins).astype(np.float32))


def normalised(images: Tensor) -> Tensor:
    """Normalise (N, S, S, 3) uint8 as ``export.model.pose.normalise`` does; return (N, 3, S, S), channels last."""
    pixels = (images.float() - torch.tensor(MEAN)) / torch.tensor(STD)
    return pixels.permute(0, 3, 1, 2)
