"""From a placement to a plan that holds its budget: scales, sensitivities, and a greedy search."""

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import CheckFailed
from export.fake_quant import simulate
from export.image_set import Images, ImageSet
from export.int8_placement import left_alone, place
from export.int8_plan import Int8Plan
from export.network import ConvNeXtPose
from export.parity import BUDGETS, millimetres
from export.pose import Volume
from export.progress import Progress, silent
from export.reference import run_reference
from export.scales import activation_scales, stored_scale

SENSITIVITY_IMAGES = 8
"""Enough to rank convolutions; each is run on all of them alone."""
MARGIN = 0.8
"""The share of the budget that the search may use: parity is judged on other images."""
BATCH = 4

Joints = NDArray[np.floating[Any]]


def search_plan(
    network: ConvNeXtPose, calibration: ImageSet, *, trained: bool, progress: Progress = silent
) -> Int8Plan:
    """Quantise all that the placement allows; take out the most sensitive convolutions until the drift is small.

    Drift is measured against the deploy network in FP32, on the calibration images. If even one quantised
    convolution is too much, the plan ends with none, and no int8 file is made of it.
    Weights that were never ``trained`` are quantised without a search: their volumes have many peaks of nearly the
    same height, and what they drift says nothing about a network that localises.

    Raises:
        CheckFailed: a scale that float16 cannot hold, or joints that are not finite.
    """
    allowed_mm = MARGIN * (BUDGETS["int8"].mean_mm or 0.0)
    volume = Volume.of(network.architecture)
    convs = place(network)
    seen = activation_scales(network, [c.name for c in convs if c.quantised], calibration.images, progress)
    scales = {name: stored_scale(scale) for name, scale in seen.items()}
    if beyond := [f"{name}: {seen[name]:.6g}" for name, scale in scales.items() if not math.isfinite(scale)]:
        what = "int8 cannot be had: fp16, which its graph has around the int8, cannot hold the scales of its inputs"
        raise CheckFailed(what, ", ".join(beyond), "ask for bf16, which has the range of fp32")
    plan = Int8Plan(
        architecture=network.architecture,
        convs=tuple(replace(c, activation_scale=scales[c.name]) if c.quantised else c for c in convs),
        left_alone=left_alone(network.architecture),
        calibration=calibration.record,
    )
    truth = run_reference(network, calibration.images, BATCH)
    if not trained:
        drift = mean_drift(simulate(network, plan), calibration.images, truth, volume)
        return replace(plan, drift_mm=drift, search=("not searched: the weights were never trained",))
    begun = time.monotonic()
    plan = _with_sensitivities(network, plan, calibration.images, truth, volume, progress)
    measured = time.monotonic()
    worst_first = sorted(plan.quantised, key=lambda conv: -(conv.drift_alone_mm or 0.0))
    said = []
    for out in range(len(worst_first) + 1):
        tried = plan.keeping((conv.name for conv in worst_first[:out]), "among the most sensitive alone")
        progress(f"search, {out} kept out")
        drift = mean_drift(simulate(network, tried), calibration.images, truth, volume)
        said.append(
            f"{len(tried.quantised)} in int8: {drift:.3f} mm"
            + (f", without {worst_first[out - 1].name}" if out else "")
        )
        if drift <= allowed_mm:
            break
    return replace(
        tried,
        drift_mm=drift,
        search=tuple(said),
        sensitivity_seconds=round(measured - begun, 1),
        search_seconds=round(time.monotonic() - measured, 1),
    )


def mean_drift(network: ConvNeXtPose, images: Images, truth: Joints, volume: Volume) -> float:
    """Mean distance of the network's joints from ``truth`` (N, J, 3) bins, in mm.

    Raises:
        CheckFailed: it is not finite; a search would take that for a convolution that bears no int8.
    """
    drift = float(millimetres(truth, run_reference(network, images, BATCH), volume).mean())
    if not math.isfinite(drift):
        do = "look at the calibration images, and at the checkpoint: `convnextpose inspect`"
        raise CheckFailed("the network's joints on calibration images are not finite", str(drift), do)
    return drift


def _with_sensitivities(
    network: ConvNeXtPose, plan: Int8Plan, images: Images, truth: Joints, volume: Volume, progress: Progress
) -> Int8Plan:
    few, few_truth = images[:SENSITIVITY_IMAGES], truth[:SENSITIVITY_IMAGES]
    alone: dict[str, float] = {}
    for index, conv in enumerate(plan.quantised):
        progress(f"{conv.name} alone", index / len(plan.quantised))
        others = [other.name for other in plan.quantised if other is not conv]
        alone[conv.name] = mean_drift(simulate(network, plan.keeping(others, "")), few, few_truth, volume)
    convs = tuple(replace(conv, drift_alone_mm=alone.get(conv.name)) for conv in plan.convs)
    return replace(plan, convs=convs)
