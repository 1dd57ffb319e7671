"""How far a network's joints are from the truth, on figures that it was not trained on."""

from collections.abc import Iterator
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
"""What the truths are kept with; a thousand images would be 200 MB."""


@dataclass(frozen=True)
class Accuracy:
    """Mean errors over figures and over 17 joints."""

    seed: int
    figures: int
    mpjpe_mm: float
    """Mean distance of the joints, relative to the pelvis, located with the true depth of the pelvis."""
    x_bins: float
    y_bins: float
    z_bins: float
    mean_pose_mpjpe_mm: float
    """Of one answer, the mean of all truths, given for every figure: what knowing nothing costs."""
    joints_mm: dict[str, float]


def held_out_accuracy(network: ConvNeXtPose, count: int = HELD_OUT_FIGURES, seed: int = EVALUATION_SEED) -> Accuracy:
    """The errors of this network, in evaluation mode and FP32, on ``count`` figures."""
    edge, depth = network.architecture.heatmap_size, network.architecture.depth_dim
    off_bins, off_mm, truths, figures = [], [], [], []
    for chunk in _chunks(count, seed):
        predicted = _predict(network, chunk)
        for figure, bins in zip(chunk, predicted, strict=True):
            truth = figure.joints_bins(edge, depth)
            off_bins.append(np.abs(bins - truth)[COUNTED])
            off_mm.append(_distances(figure, bins, edge, depth))
            truths.append(truth)
            figures.append(replace(figure, image=NO_IMAGE))
    mean_pose = np.mean(truths, axis=0)
    x, y, z = np.mean(off_bins, axis=(0, 1)).tolist()
    each_joint = np.mean(off_mm, axis=0)
    return Accuracy(
        seed=seed,
        figures=count,
        mpjpe_mm=float(each_joint.mean()),
        x_bins=x,
        y_bins=y,
        z_bins=z,
        mean_pose_mpjpe_mm=float(np.mean([_distances(figure, mean_pose, edge, depth) for figure in figures])),
        joints_mm={HUMAN36M.joints[j]: float(mm) for j, mm in zip(COUNTED, each_joint, strict=True)},
    )


def _chunks(count: int, seed: int) -> Iterator[list[Figure]]:
    for first in range(0, count, CHUNK):
        yield draw_figures(min(CHUNK, count - first), seed, first)


@torch.inference_mode()
def _predict(network: ConvNeXtPose, figures: list[Figure]) -> Array:
    """(N, 18, 3) bins."""
    images = torch.from_numpy(normalise(np.stack([figure.image for figure in figures])))
    return network(images).double().numpy()  # type: ignore[no-any-return]


def _distances(figure: Figure, bins: Array, edge: int, depth: int) -> Array:
    """(17,) mm."""
    distances: Array = np.linalg.norm(figure.located_mm(bins, edge, depth) - figure.joints_mm, axis=1)
    return distances[COUNTED]
