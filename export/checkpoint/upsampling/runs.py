"""Runs of one checkpoint with several upsampling counts, on crops and on the same crops turned and mirrored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.common.progress import Progress
from export.model.architecture import Architecture
from export.model.camera import Array
from export.model.network import ConvNeXtPose, build_network
from export.runtime.pose import Volume, normalise

TURN_DEGREES = 20.0
"""Angle to either side. Smaller angles hardly move poses, larger ones make them unusual: the centre of rotation that
the demo checkpoint shows on 96 drawn figures has a standard error of 0.20 px at 10 degrees, 0.16 at 20, 0.18 at 30."""


@dataclass(frozen=True, eq=False)
class Motion:
    """One or several linear maps of the same kind."""

    matrices: tuple[Array, ...]
    """(2, 2) each, on pixels relative to the crop's centre."""
    axes: tuple[int, ...]
    """Coordinates of the centre (0 x, 1 y) that the motion determines."""
    swaps_sides: bool
    """True if the motion exchanges a person's left and right."""


def _turn(degrees: float) -> Array:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, -s], [s, c]])


TURNED = Motion((_turn(TURN_DEGREES), _turn(-TURN_DEGREES)), axes=(0, 1), swaps_sides=False)
MIRRORED = Motion((np.diag([-1.0, 1.0]),), axes=(0,), swaps_sides=True)
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


def move(images: NDArray[np.uint8], matrix: Array) -> NDArray[np.uint8]:
    """Move every pixel p of (N, S, S, 3) crops to c + matrix · (p − c) about the centre c = (S − 1) / 2.

    Border pixels are repeated outside the crop: a reflection could show second limbs there, and black an edge.
    """
    size = images.shape[1]
    centre = np.full(2, (size - 1) / 2)
    affine = np.column_stack([matrix, centre - matrix @ centre])
    turned = [
        cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for image in images
    ]
    return np.stack([np.asarray(image, np.uint8) for image in turned])
