"""Small networks, and precision plans for one: all that the placement allows, whatever it costs."""

from dataclasses import replace
from functools import cache

import torch

from export.checkpoint.loading import read_checkpoint
from export.checkpoint.verdict import judge
from export.graph.precision import HALF, half_graph
from export.images.drawings import drawn_images
from export.images.image_set import Images, ImageSet, drawn_set
from export.model.config import load_config
from export.model.network import ConvNeXtPose, build_network
from export.plan.calibration import NEEDED_IMAGES
from export.plan.planned import PlannedWeights, simulated
from export.plan.precision_plan import PrecisionPlan
from export.plan.search import Candidates, plan_of, prepare
from tests.support.checkpoints import TINY, alive_weights
from tests.support.command_line import ROOT

WEIGHTS_SHA256 = "a" * 64
FEW = 8
"""Images from which weights and scales are taken: enough for a network of this size."""


@cache
def tiny_network() -> ConvNeXtPose:
    """Return the network as released; tests must leave it as it is."""
    return build_network(TINY, alive_weights())


@cache
def trained_network() -> ConvNeXtPose:
    """Return a small network that localizes figures, so that errors in mm mean something; leave it as it is."""
    checkpoint = read_checkpoint(ROOT / "tests/data/once-demo.pth")
    architecture = judge(load_config(str(ROOT / "tests/data/once.yaml")), checkpoint, {"upsamplings": 1}).architecture
    return build_network(architecture, checkpoint.tensors)


@cache
def figures() -> ImageSet:
    """Return images of the kind that it was trained on: the first half to calibrate on, the second to judge on."""
    return drawn_set(trained_network().architecture.input_size, 2 * NEEDED_IMAGES, 5)


def to_calibrate(count: int = NEEDED_IMAGES) -> ImageSet:
    """Return the first figures."""
    return ImageSet(figures().images[:count], "drawn figures")


def to_judge(count: int) -> Images:
    """Return other figures, (N, S, S, 3)."""
    return figures().images[NEEDED_IMAGES : NEEDED_IMAGES + count]


@cache
def tiny_calibration() -> ImageSet:
    """Return as few images as a plan may have been calibrated on."""
    return ImageSet(drawn_images(NEEDED_IMAGES, TINY.input_size, 77), "drawn shapes")


@cache
def tiny_prepared(precision: str) -> tuple[PrecisionPlan, Candidates]:
    """Return a calibrated plan that was not searched, and the weights it chooses from."""
    plan = replace(plan_of(tiny_network(), precision, tiny_calibration()), weights_sha256=WEIGHTS_SHA256)
    return prepare(tiny_network(), plan, tiny_calibration().images[:FEW])


def tiny_plan(precision: str = "int8") -> PrecisionPlan:
    """Return the plan alone."""
    return tiny_prepared(precision)[0]


def tiny_weights(plan: PrecisionPlan) -> PlannedWeights:
    """Return the weights of ``tiny_plan``, or of one that keeps some of its convolutions in a higher precision."""
    return tiny_prepared(plan.precision)[1].weights(plan)


def rounded_to_nearest(network: ConvNeXtPose, precision: str) -> ConvNeXtPose:
    """Return a simulated half graph whose weights are rounded without error feedback, as ``in_precision`` does."""
    exact = half_graph(network, torch.float32)
    floats = {name: parameter.to(HALF[precision]) for name, parameter in exact.named_parameters()}
    return simulated(network, plan_of(network, precision, tiny_calibration()), PlannedWeights(floats, {}))
