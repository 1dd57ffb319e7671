"""Measurement of the BatchNorm mismatch of a checkpoint on drawn figures, crops, and planted defects.

Run as ``python -m scripts.image_mismatch CHECKPOINT MODEL [CROPS]``; prints a Markdown table.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.checkpoint.loading import read_checkpoint
from export.checkpoint.verdict import judge
from export.images.drawings import SHAPES_SEED, drawn_images
from export.images.image_folder import read_crops
from export.images.norm_statistics import ENOUGH_IMAGES, measure_images
from export.model.config import load_config
from export.model.network import build_network
from export.parity.images import parity_images
from export.plan.calibration import drawn_calibration

Images = NDArray[np.uint8]


def shrink(images: Images) -> Images:
    """Return each image at a quarter of its size in the middle of a grey image."""
    canvas, edge = np.full_like(images, 114), images.shape[1] // 4
    start = (images.shape[1] - edge) // 2
    canvas[:, start : start + edge, start : start + edge] = images[:, ::4, ::4]
    return canvas


def grey(images: Images) -> Images:
    """Return each image without its colours."""
    return np.repeat(images.mean(axis=3, keepdims=True), 3, axis=3).astype(np.uint8)


DEFECTS: dict[str, Callable[[Images], Images]] = {
    "as they are": lambda images: images,
    "first 32": lambda images: images[:32],
    "first 8": lambda images: images[:8],
    "BGR": lambda images: images[..., ::-1].copy(),
    "upside down": lambda images: images[:, ::-1].copy(),
    "rotated by 90°": lambda images: np.rot90(images, axes=(1, 2)).copy(),
    "grey": grey,
    "brightness × 0.3": lambda images: (images * 0.3).astype(np.uint8),
    "figure far too small": shrink,
    "divided by 255": lambda images: np.rint(images / 255).astype(np.uint8),
}


def image_sets(size: int, crops: Path | None) -> dict[str, Images]:
    """Return image sets by name."""
    figures = parity_images(size).images
    sets = {"figures, calibration": drawn_calibration(size).images}
    sources = {"figures": figures}
    if crops is not None:
        sources["crops"] = read_crops(crops, size, ENOUGH_IMAGES, ENOUGH_IMAGES).images
    for source, images in sources.items():
        sets |= {f"{source}, {defect}": plant(images) for defect, plant in DEFECTS.items()}
    rng = np.random.default_rng(0)
    sets["drawn shapes"] = drawn_images(ENOUGH_IMAGES, size, SHAPES_SEED)
    sets["noise"] = rng.integers(0, 256, figures.shape, dtype=np.uint8)
    colours = rng.integers(0, 256, (ENOUGH_IMAGES, 1, 1, 3), dtype=np.uint8)
    return sets | {"flat colours": np.broadcast_to(colours, figures.shape).copy()}


def main(checkpoint: Path, model: str, crops: Path | None) -> None:
    """Print a row for each image set."""
    torch.set_num_threads(1)
    loaded = read_checkpoint(checkpoint)
    network = build_network(judge(load_config(model), loaded, {}).architecture, loaded.tensors)
    print("| images | count | mean shift | log variance ratio | verdict |", "|---|---|---|---|---|", sep="\n")
    for name, images in image_sets(network.architecture.input_size, crops).items():
        result = measure_images(network, images)
        numbers = f"{result.images} | {result.mean_shift:.3f} | {result.log_variance_ratio:.3f}"
        print(f"| {name} | {numbers} | {result.verdict} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
