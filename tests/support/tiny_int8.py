"""Small networks, and precision plans for one by rule, without a search."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from export.checkpoint.loading import read_checkpoint
from export.checkpoint.verdict import judge
from export.graph.precision import HALF, half_graph
from export.images.image_set import Images, ImageSet, drawn_set
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.parity.comparison import Joints, errors_mm
from export.plan.calibration import FEWEST_IMAGES
from export.plan.planned import PlannedWeights, simulated_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.search import initial_plan
from export.plan.weights import Candidates, prepare
from export.runtime.pose import Volume
from tests.support.checkpoints import TINY, alive_weights
from tests.support.command_line import ROOT
from tests.support.drawings import drawn_images

WEIGHTS_SHA256 = "a" * 64
FEW = 8
"""Number of images for weights and scales."""


@cache
def tiny_network() -> ConvNeXtPose:
    """Return a network with random weights; tests must not change it."""
    return build_network(TINY, alive_weights())


@cache
def trained_network() -> ConvNeXtPose:
    """Return a small trained network; tests must not change it."""
    checkpoint = read_checkpoint(ROOT / "tests/data/once-demo.pth")
    architecture = judge(load_config(str(ROOT / "tests/data/once.yaml")), checkpoint, {"upsamplings": 1}).architecture
    return build_network(architecture, checkpoint.tensors)


@cache
def figures() -> ImageSet:
    """Return images like those of its training: one half for calibration, the other half for measurements."""
    return drawn_set(trained_network().architecture.input_size, 2 * FEWEST_IMAGES, 5)


def calibration_figures(count: int = FEWEST_IMAGES) -> ImageSet:
    """Return the first figures, for calibration."""
    return ImageSet(figures().images[:count], "drawn figures")


def other_figures(count: int) -> Images:
    """Return other figures, for measurements, (N, S, S, 3)."""
    return figures().images[FEWEST_IMAGES : FEWEST_IMAGES + count]


def joint_errors(network: ConvNeXtPose, first: Joints, second: Joints) -> NDArray[np.float64]:
    """Return the (N, J) distances in mm of two sets of joints in bins."""
    return errors_mm(first, second, Volume.from_architecture(network.architecture))


@cache
def tiny_calibration() -> ImageSet:
    """Return the fewest images that a plan may have."""
    return ImageSet(drawn_images(FEWEST_IMAGES, TINY.input_size, 77), "drawn shapes")


@cache
def tiny_prepared(precision: str) -> tuple[PrecisionPlan, Candidates]:
    """Return a calibrated plan without a search, and its candidate weights."""
    plan = replace(initial_plan(tiny_network(), precision, tiny_calibration()), weights_sha256=WEIGHTS_SHA256)
    return prepare(tiny_network(), plan, tiny_calibration().images[:FEW])


def tiny_plan(precision: str = "int8") -> PrecisionPlan:
    """Return a calibrated plan without a search."""
    return tiny_prepared(precision)[0]


def tiny_weights(plan: PrecisionPlan) -> PlannedWeights:
    """Return the weights of ``tiny_plan``, perhaps with some convolutions in the higher precision."""
    return tiny_prepared(plan.precision)[1].weights(plan)


def rounded_to_nearest(network: ConvNeXtPose, precision: str) -> ConvNeXtPose:
    """Return a simulated half graph with weights rounded without error feedback, as ``in_precision`` does."""
    exact = half_graph(network, torch.float32)
    floats = {name: parameter.to(HALF[precision]) for name, parameter in exact.named_parameters()}
    return simulated_graph(network, initial_plan(network, precision, tiny_calibration()), PlannedWeights(floats, {}))
