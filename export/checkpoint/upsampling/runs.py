"""Runs of one checkpoint with several upsampling counts, on crops and on the same crops turned and mirrored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint.upsampling.motions import MIRRORED, TURNED, move
from export.common.progress import Progress
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network
from export.model.pose import Array, Volume, normalise

VIEWS = (np.eye(2), *TURNED.matrices, *MIRRORED.matrices)
"""The views of each crop: unchanged, turned to either side, and mirrored."""

BATCH_ELEMENTS = 1 << 24
"""Logits at a time: 64 MiB, and the decode needs a multiple of it."""
MOST_IN_BATCH = 8


@dataclass(frozen=True, eq=False)
class Run:
    """Joints and sharpness of all images, with one upsampling count."""

    joints_px: Array
    """(V, N, J, 2) in pixels of the crop, for each of ``VIEWS``."""
    entropy_share: Array
    """(N, J) of the unchanged crops."""
    mode_distance_mm: Array
    """(N, J) of the unchanged crops."""


@torch.inference_mode()
def run_candidates(
    candidates: Sequence[Architecture], tensors: Mapping[str, Tensor], images: NDArray[np.uint8], progress: Progress
) -> list[Run]:
    """Run candidates that differ only in their upsamplings, on (N, S, S, 3) RGB crops.

    The backbone's features are computed once for each view of an image, and shared.

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
    return [_concatenate(runs) for runs in zip(*batches, strict=True)]


def _run_head(network: ConvNeXtPose, features: Sequence[Tensor]) -> Run:
    architecture = network.architecture
    volume = Volume(architecture.heatmap_size, architecture.depth_dim, architecture.input_size)
    logits = network.head(features[0])
    joints = network.decode(logits)
    entropy, distance = entropy_share(logits, architecture.joints), mode_distance_mm(logits, joints, volume)
    moved_joints = [network.decode(network.head(view)) for view in features[1:]]
    joints_px = np.stack([volume.crop_pixels(bins.numpy()) for bins in (joints, *moved_joints)])
    return Run(joints_px, entropy.double().numpy(), distance.double().numpy())


def _concatenate(runs: Sequence[Run]) -> Run:
    """Return the batches' runs as one."""
    return Run(
        np.concatenate([run.joints_px for run in runs], axis=1),
        np.concatenate([run.entropy_share for run in runs]),
        np.concatenate([run.mode_distance_mm for run in runs]),
    )


def entropy_share(logits: Tensor, joints: int) -> Tensor:
    """Return each joint's entropy over its volume as a share of the largest possible, log(D·H·W).

    Args:
        logits: (N, J * D, H, W).
        joints: J.

    Returns:
        (N, J): 0 where one bin has all probability, 1 where all bins have the same.
    """
    volume = logits.reshape(len(logits), joints, -1)
    log_p = volume.log_softmax(dim=2)
    entropy = -(log_p.exp() * log_p).sum(dim=2)
    return entropy / torch.tensor(float(volume.shape[2])).log()


def mode_distance_mm(logits: Tensor, expected: Tensor, volume: Volume) -> Tensor:
    """Return the distances from decoded joints to the most probable bin of their volume.

    Args:
        logits: (N, J * D, H, W).
        expected: (N, J, 3) decoded joints in bins.
        volume: turns bins into mm.

    Returns:
        (N, J) mm in the cube.
    """
    edge = volume.heatmap_size
    index = logits.reshape(len(logits), expected.shape[1], -1).argmax(dim=2)
    mode = torch.stack([index % edge, index // edge % edge, index // edge**2], dim=2)
    bin_mm = torch.tensor(volume.bin_mm, dtype=expected.dtype)
    distance: Tensor = torch.linalg.vector_norm((expected - mode) * bin_mm, dim=2)
    return distance
