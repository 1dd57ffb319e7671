"""Runs of one checkpoint with several upsampling counts, on crops and on the same crops turned and mirrored."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint.upsampling.motions import MIRRORED, TURNED, move
from export.common.progress import Progress
from export.model.architecture import Architecture
from export.model.camera import Array
from export.model.network import ConvNeXtPose, build_network
from export.runtime.pose import Volume, normalise

VIEWS = (np.eye(2), *TURNED.matrices, *MIRRORED.matrices)
"""The views of each crop: unchanged, turned to either side, and mirrored."""

BATCH_ELEMENTS = 1 << 24
"""Logits at a time: 64 MiB, and the decode needs a multiple of it."""
MOST_IN_BATCH = 8


@torch.inference_mode()
def run_candidates(
    candidates: Sequence[Architecture], tensors: Mapping[str, Tensor], images: NDArray[np.uint8], progress: Progress
) -> list[Array]:
    """Run candidates that differ only in their upsamplings, on (N, S, S, 3) RGB crops.

    The backbone's features are computed once for each view of an image, and shared.

    Returns:
        For each candidate (V, N, J, 2) joints in pixels of the crop, for each of ``VIEWS``.

    Raises:
        BadInput: the tensors do not fit the candidates.
    """
    networks = [build_network(candidate, tensors) for candidate in candidates]
    largest = max(candidate.volume_channels * candidate.heatmap_size**2 for candidate in candidates)
    size = max(1, min(MOST_IN_BATCH, BATCH_ELEMENTS // largest))
    batches = []
    for first in range(0, len(images), size):
        progress("images", first / len(images))
        views = [move(images[first : first + size], matrix) for matrix in VIEWS]
        features = [networks[0].backbone(torch.from_numpy(normalise(view))) for view in views]
        batches.append([_run_head(network, features) for network in networks])
    return [np.concatenate(joints, axis=1) for joints in zip(*batches, strict=True)]


def _run_head(network: ConvNeXtPose, features: Sequence[Tensor]) -> Array:
    volume = Volume.from_architecture(network.architecture)
    views = [network.decode(network.head(view)) for view in features]
    return np.stack([volume.crop_pixels(bins.numpy()) for bins in views])
