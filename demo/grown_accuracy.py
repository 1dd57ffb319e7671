"""Measure the networks grown from the demo checkpoint on held-out figures: ``python -m demo.grown_accuracy``.

Prints the table of docs/accuracy.md: MPJPE, and the error relative to the demo network.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from demo.accuracy import COUNTED, predict_bins
from demo.command import run
from export.checkpoint.loading import read_checkpoint
from export.common.errors import BadInput
from export.common.files import PROJECT
from export.images.figures import EVALUATION_SEED, Figure, draw_figures
from export.images.skeleton import Array
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.synthetic.grown import grow_demo
from export.synthetic.growth import plan_growth

CHUNK = 8
"""Figures per run: eight volumes of L are 150 MB."""
COLUMNS = ("model", "MPJPE (mm)", "mean error (mm)", "p99 error (mm)", "max error (mm)", "grown in (s)")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network and the time that its growth took."""

    name: str
    network: ConvNeXtPose
    seconds: float | None


def grow_model(model: str) -> Candidate:
    """Grow ``model`` as an export does.

    Raises:
        BadInput: the model is not grown from a demo checkpoint.
    """
    config = load_config(model)
    growth = plan_growth(config, {})
    if growth is None:
        raise BadInput("the model is not grown from a demo checkpoint", model, "name one with grown_from in its YAML")
    started = time.perf_counter()
    weights = grow_demo(growth, read_checkpoint(growth.checkpoint).tensors, config.architecture)
    seconds = time.perf_counter() - started
    return Candidate(model, build_network(config.architecture, weights), seconds)


def predict_mm(network: ConvNeXtPose, figures: Sequence[Figure]) -> Array:
    """Return the network's joints of each figure, (N, 17, 3) mm relative to the pelvis."""
    edge, depth = network.architecture.heatmap_size, network.architecture.depth_dim
    chunks = (figures[first : first + CHUNK] for first in range(0, len(figures), CHUNK))
    bins = np.concatenate([predict_bins(network, chunk) for chunk in chunks])
    return np.stack([f.located_mm(joints, edge, depth)[COUNTED] for f, joints in zip(figures, bins, strict=True)])


def row(candidate: Candidate, joints: Array, reference: Array, figures: Sequence[Figure]) -> str:
    """Format the errors of one network."""
    truth = np.stack([figure.joints_mm[COUNTED] for figure in figures])
    mpjpe_mm = np.linalg.norm(joints - truth, axis=2).mean()
    error_mm = np.linalg.norm(joints - reference, axis=2)
    numbers = [f"{mpjpe_mm:.2f}", *(f"{v:.4g}" for v in (error_mm.mean(), np.percentile(error_mm, 99), error_mm.max()))]
    seconds = "–" if candidate.seconds is None else f"{candidate.seconds:.1f}"
    return f"| {' | '.join([candidate.name, *numbers, seconds])} |"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m demo.grown_accuracy", description=__doc__)
    parser.add_argument("models", nargs="*", default=["S", "M", "L"])
    parser.add_argument("--figures", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures = draw_figures(options.figures, EVALUATION_SEED)
    config = load_config("XS-atto")
    assert config.demo is not None
    demo = build_network(config.architecture, read_checkpoint(PROJECT / config.demo).tensors)
    reference = predict_mm(demo, figures)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    print(row(Candidate(config.name, demo, None), reference, reference, figures), flush=True)
    for candidate in map(grow_model, options.models):
        print(row(candidate, predict_mm(candidate.network, figures), reference, figures), flush=True)
    return 0


if __name__ == "__main__":
    run(main)
