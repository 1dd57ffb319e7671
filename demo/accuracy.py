"""Accuracy of a network on drawn figures that it was not trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from export.images.figures import EVALUATION_SEED, Figure, draw_figures
from export.images.skeleton import Array
from export.model.joint_sets import HUMAN36M
from export.model.network import ConvNeXtPose
from export.model.pose import normalise

HELD_OUT_FIGURES = 1024
COUNTED = [j for j, name in enumerate(HUMAN36M.joints) if name != "Thorax"]
"""The published figures leave the thorax out."""
CHUNK = 32
NO_IMAGE = np.empty((0, 0, 3), np.uint8)
"""Replacement of images that are no longer needed; a thousand would be 200 MB."""


@dataclass(frozen=True)
class Accuracy:
    """Mean errors over figures and 17 joints."""

    seed: int
    figures: int
    mpjpe_mm: float
    """Mean distance of the joints relative to the pelvis, located with the pelvis' true depth."""
    x_bins: float
    y_bins: float
    z_bins: float
    mean_pose_mpjpe_mm: float
    """Error of a constant answer, the mean of all true poses."""
    joints_mm: dict[str, float]


def held_out_accuracy(network: ConvNeXtPose, count: int = HELD_OUT_FIGURES, seed: int = EVALUATION_SEED) -> Accuracy:
    """Measure the errors of a network in evaluation mode and FP32 on ``count`` figures."""
    edge, depth = network.architecture.heatmap_size, network.architecture.depth_dim
    errors_bins, errors_mm, true_bins, figures = [], [], [], []
    for chunk in _chunks(count, seed):
        for figure, bins in zip(chunk, predict_bins(network, chunk), strict=True):
            truth = figure.joints_bins(edge, depth)
            errors_bins.append(np.abs(bins - truth)[COUNTED])
            errors_mm.append(_errors_mm(figure, bins, edge, depth))
            true_bins.append(truth)
            figures.append(replace(figure, image=NO_IMAGE))
    mean_pose = np.mean(true_bins, axis=0)
    x, y, z = np.mean(errors_bins, axis=(0, 1)).tolist()
    joint_errors = np.mean(errors_mm, axis=0)
    return Accuracy(
        seed=seed,
        figures=count,
        mpjpe_mm=float(joint_errors.mean()),
        x_bins=x,
        y_bins=y,
        z_bins=z,
        mean_pose_mpjpe_mm=float(np.mean([_errors_mm(figure, mean_pose, edge, depth) for figure in figures])),
        joints_mm={HUMAN36M.joints[j]: float(mm) for j, mm in zip(COUNTED, joint_errors, strict=True)},
    )


@torch.inference_mode()
def predict_bins(network: ConvNeXtPose, figures: Sequence[Figure]) -> Array:
    """Return the network's joints of each figure, (N, 18, 3) bins."""
    images = torch.from_numpy(normalise(np.stack([figure.image for figure in figures])))
    return network(images).double().numpy()  # type: ignore[no-any-return]


def _chunks(count: int, seed: int) -> Iterator[list[Figure]]:
    for first in range(0, count, CHUNK):
        yield draw_figures(min(CHUNK, count - first), seed, first)


def _errors_mm(figure: Figure, bins: Array, edge: int, depth: int) -> Array:
    """Return (17,) mm."""
    distances: Array = np.linalg.norm(figure.located_mm(bins, edge, depth) - figure.joints_mm, axis=1)
    return distances[COUNTED]
