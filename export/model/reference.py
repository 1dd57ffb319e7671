"""Runs of the reference network on images."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.common.progress import Progress, no_progress
from export.model.network import ConvNeXtPose
from export.runtime.pose import normalise


@torch.inference_mode()
def run_reference(
    network: ConvNeXtPose, images: NDArray[np.uint8], batch: int, progress: Progress = no_progress
) -> NDArray[np.floating[Any]]:
    """Run (N, S, S, 3) RGB pixels through the network in the type of its weights; return (N, joints, 3) in bins."""
    dtype = next(network.parameters()).dtype
    joints = []
    for start in range(0, len(images), batch):
        progress(f"reference, {dtype}".replace("torch.", ""), start / len(images))
        joints.append(network(torch.from_numpy(normalise(images[start : start + batch])).to(dtype)).numpy())
    return np.concatenate(joints)
