"""A small network, and an int8 plan for it: all that the placement allows, whatever it costs."""

from dataclasses import replace
from functools import cache

from export.calibration import NEEDED_IMAGES
from export.deploy import deploy
from export.drawings import drawn_images
from export.image_set import ImageSet
from export.int8_placement import left_alone, place
from export.int8_plan import Int8Plan
from export.network import ConvNeXtPose, build_network
from export.scales import activation_scales, stored_scale
from tests.checkpoints import TINY, alive_weights

WEIGHTS_SHA256 = "a" * 64


@cache
def tiny_network() -> ConvNeXtPose:
    """In its deploy form; tests must leave it as it is."""
    return deploy(build_network(TINY, alive_weights()))


@cache
def tiny_calibration() -> ImageSet:
    """As few images as are taken."""
    return ImageSet(drawn_images(NEEDED_IMAGES, TINY.input_size, 77), "drawn shapes")


@cache
def tiny_plan() -> Int8Plan:
    """Calibrated, not searched."""
    convs = place(tiny_network())
    scales = activation_scales(tiny_network(), [c.name for c in convs if c.quantised], tiny_calibration().images)
    scaled = (replace(c, activation_scale=stored_scale(scales[c.name])) if c.quantised else c for c in convs)
    record = tiny_calibration().record
    return Int8Plan(TINY, tuple(scaled), left_alone(TINY), record, weights_sha256=WEIGHTS_SHA256)
