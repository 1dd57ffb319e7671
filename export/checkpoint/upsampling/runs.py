"""One checkpoint run with several upsampling counts, on crops and on the same crops moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.checkpoint.upsampling.motions import MIRRORED, TURNED, moved
from export.checkpoint.upsampling.sharpness import entropy_share, mode_distance_mm
from export.common.progress import Progress
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network
from export.model.pose import Array, Volume, normalise

VIEWS = (np.eye(2), *TURNED.matrices, *MIRRORED.matrices)
"""Each crop as it is, turned to either side, and mirrored."""

BATCH_ELEMENTS = 1 << 24
"""Of logits at a time: 64 MiB, of which the decode needs a few."""
MOST_IN_BATCH = 8


@dataclass(frozen=True, eq=False)
class Run:
    """What the network with one count made of all images."""

    joints_px: Array
    """(V, N, J, 2) in pixels of the crop, for each of ``VIEWS``."""
    entropy_share: Array
    """(N, J) of the crops as they are."""
    mode_distance_mm: Array
    """(N, J) of the crops as they are."""

    def of(self, images: slice) -> "Run":
        """The same of some of the images."""
        return Run(self.joints_px[:, images], self.entropy_share[images], self.mode_distance_mm[images])


@torch.inference_mode()
def run_candidates(
    candidates: Sequence[Architecture], tensors: Mapping[str, Tensor], images: NDArray[np.uint8], progress: Progress
) -> list[Run]:
    """One run for each of the candidates, which differ only in their upsamplings, on (N, S, S, 3) RGB crops.

    They share the backbone's features, which are computed once for each view of an image.

    Raises:
        BadInput: the tensors do not fit the candidates.
    """
    networks = [build_network(candidate, tensors) for candidate in candidates]
    largest = max(candidate.volume_channels * candidate.heatmap_size**2 for candidate in candidates)
    size = max(1, min(MOST_IN_BATCH, BATCH_ELEMENTS // largest))
    batches = []
    for first in range(0, len(images), size):
        progress("images", first / len(images))
        views = [moved(images[first : first + size], matrix) for matrix in VIEWS]
        features = [networks[0].backbone(torch.from_numpy(normalise(view))) for view in views]
        batches.append([_run_head(network, features) for network in networks])
    return [_joined(runs) for runs in zip(*batches, strict=True)]


def _run_head(network: ConvNeXtPose, features: Sequence[Tensor]) -> Run:
    architecture = network.architecture
    volume = Volume(architecture.heatmap_size, architecture.depth_dim, architecture.input_size)
    logits = network.head(features[0])
    joints = network.decode(logits)
    entropy, distance = entropy_share(logits, architecture.joints), mode_distance_mm(logits, joints, volume)
    moved_joints = [network.decode(network.head(view)) for view in features[1:]]
    joints_px = np.stack([volume.crop_pixels(bins.numpy()) for bins in (joints, *moved_joints)])
    return Run(joints_px, entropy.double().numpy(), distance.double().numpy())


def _joined(runs: Sequence[Run]) -> Run:
    """The batches' runs as one."""
    return Run(
        np.concatenate([run.joints_px for run in runs], axis=1),
        np.concatenate([run.entropy_share for run in runs]),
        np.concatenate([run.mode_distance_mm for run in runs]),
    )
