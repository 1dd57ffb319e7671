"""From a rule to a plan that holds its error budget: weights, sensitivities, and a search by bisection.

Everything is simulated on calibration images. If the whole network in the lower precision exceeds the budget, its units
(convolutions for INT8, segments for half precision) are ranked by what they cost, error squared per multiply, and the
fewest of them that it takes are kept in the next higher precision.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.common.errors import CheckFailed
from export.common.progress import Progress, no_progress
from export.graph.precision import BODY, half_graph
from export.graph.segments import Segment, run_from, segment_inputs, segments
from export.images.image_set import Images, ImageSet
from export.model.network import ConvNeXtPose
from export.model.pose import Volume
from export.model.reference import run_reference
from export.parity.budgets import GRADES, REQUIRED_GRADE, TARGET_GRADE, Grade
from export.parity.comparison import errors_mm
from export.plan.placement import left_alone, place, segment_of
from export.plan.plan_record import TOO_MANY
from export.plan.planned import Int8Weights, PlannedWeights, quantize_conv, round_values, simulated
from export.plan.precision_plan import PrecisionPlan
from export.plan.weights import (
    half_weights,
    int8_weights,
    planned_weights,
    scale_inputs,
)

SENSITIVITY_IMAGES = 16
"""Enough to rank units; each is run alone on all of them."""
MARGINS = (0.7, 0.5, 0.35)
"""Shares of the budget that the search may use, since parity is judged on other images: each where a plan by the one
before does not hold there. The p99 of 64 images is decided by one or two of them, whose joints have two likely places;
on other images it was seen at up to 2.5 times its value."""
MOST_IN_FP32 = 0.25
"""Share of the multiplies that a half precision may leave in FP32 to reach its aim. With more, little of its speed is
left, and it settles for the grade that is required of it."""
KEPT = {"int8": "fp16", "fp16": "fp32", "bf16": "fp32"}
"""The next higher precision."""

Joints = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The weights of one network in every precision that a plan may choose from."""

    exact: ConvNeXtPose
    """The FP32 graph, its channels rescaled."""
    floats: dict[str, Tensor]
    int8: dict[str, Int8Weights]
    biases: dict[str, Tensor]

    def weights(self, plan: PrecisionPlan) -> PlannedWeights:
        """Return what the plan chooses."""
        return planned_weights(plan.convs, self.exact, self.floats, self.int8, self.biases)


def plan_of(reference: ConvNeXtPose, precision: str, calibration: ImageSet) -> PrecisionPlan:
    """Return the rule: everything in ``precision`` that the placement allows, nothing measured."""
    architecture = reference.architecture
    return PrecisionPlan(
        precision=precision,
        architecture=architecture,
        convs=place(architecture, precision),
        left_alone=left_alone(architecture, precision),
        calibration=calibration.record,
    )


def prepare(
    reference: ConvNeXtPose, plan: PrecisionPlan, images: Images, progress: Progress = no_progress
) -> tuple[PrecisionPlan, Candidates]:
    """Compute weights for a plan; where its INT8 inputs have no scales yet, choose them.

    Raises:
        CheckFailed: values that are not finite.
    """
    exact = half_graph(reference, torch.float32)
    if plan.precision == "int8":
        plan = replace(plan, convs=scale_inputs(exact, plan.convs, images, progress))
    floats = half_weights(exact, plan.precision, images, progress)
    scales = {conv.name: conv.input_scale for conv in plan.quantized if conv.input_scale is not None}
    int8, biases = int8_weights(exact, scales, images, progress) if scales else ({}, {})
    return plan, Candidates(exact, floats, int8, biases)


def search_plan(
    reference: ConvNeXtPose,
    precision: str,
    calibration: ImageSet,
    *,
    trained: bool,
    require: str | None = None,
    holds_elsewhere: Callable[[PrecisionPlan, PlannedWeights, Grade], bool] = lambda *_: True,
    progress: Progress = no_progress,
) -> tuple[PrecisionPlan, PlannedWeights]:
    """Find a plan whose simulated error on the calibration images is within the budget, and its weights.

    Of other images the search learns one thing, for each grade and share of the budget: whether a plan
    holds there.

    If even one unit is too much, the plan ends with none, and no file is made of it. Weights that were never
    ``trained`` are not searched: their volumes have many peaks of nearly the same height, and what they lose says
    nothing about a network that localizes.

    Args:
        reference: the released network.
        precision: fp16, bf16 or int8.
        calibration: images of the kind that it was trained on.
        trained: whether the weights are somebody's.
        require: the grade of error that the user asks for; None: the precision's own.
        holds_elsewhere: whether a plan with these weights holds a grade on images of another set.
        progress: told what is measured.

    Raises:
        CheckFailed: values or joints that are not finite.
    """
    begun = time.monotonic()
    plan, candidates = prepare(reference, plan_of(reference, precision, calibration), calibration.images, progress)
    search = _Search(reference, plan, candidates, calibration.images, progress)
    if not trained:
        mean, p99 = search.error(plan)
        plan = replace(plan, mean_mm=mean, p99_mm=p99, search=("not searched: the weights were never trained",))
        return plan, candidates.weights(plan)
    aims = [require] if require else list(dict.fromkeys((TARGET_GRADE[precision], REQUIRED_GRADE[precision])))
    found = search.find(aims, lambda of, grade: holds_elsewhere(of, candidates.weights(of), grade))
    if found is None:
        reason = "kept out: no plan holds the error budget"
        found = plan.keeping({conv.name for conv in plan.convs if conv.precision == precision}, KEPT[precision], reason)
    plan = found
    mean, p99 = search.error(plan)
    seconds = round(time.monotonic() - begun, 1)
    plan = replace(plan, mean_mm=mean, p99_mm=p99, search=tuple(search.lines), search_seconds=seconds)
    return plan, candidates.weights(plan)


class _Search:
    """The state of one search: what was measured, and what was said about it."""

    def __init__(
        self,
        reference: ConvNeXtPose,
        plan: PrecisionPlan,
        candidates: Candidates,
        images: Images,
        progress: Progress,
    ) -> None:
        self.lines: list[str] = []
        self._reference, self._plan, self._candidates = reference, plan, candidates
        self._images, self._progress = images, progress
        self._volume = Volume.from_architecture(reference.architecture)
        self._target = run_reference(candidates.exact, images, 4)
        self._ranked: list[tuple[str, float]] | None = None
        self._known: dict[frozenset[str], tuple[float, float]] = {}

    def error(self, plan: PrecisionPlan) -> tuple[float, float]:
        """Return mean and p99 of the simulated error of a plan, in mm."""
        key = frozenset(conv.name for conv in plan.convs if conv.precision == plan.precision)
        if key not in self._known:
            network = simulated(self._reference, plan, self._candidates.weights(plan))
            self._known[key] = error_mm(network, self._images, self._target, self._volume)
        return self._known[key]

    def find(
        self, aims: Sequence[str], holds_elsewhere: Callable[[PrecisionPlan, Grade], bool]
    ) -> PrecisionPlan | None:
        """Return the plan for the first of these grades that holds elsewhere too, or else the last one found."""
        last = None
        for aim in aims:
            for margin in MARGINS:
                found = self.reach(GRADES[aim], MOST_IN_FP32 if aim != aims[-1] else 1.0, margin)
                if found is None:
                    break
                last = replace(found, aim=aim)
                if holds_elsewhere(last, GRADES[aim]):
                    return last
                self.lines.append(f"not {aim} on the images of parity, with {margin:.0%} of the budget")
        return last

    def reach(self, grade: Grade, most_kept: float, margin: float = MARGINS[0]) -> PrecisionPlan | None:
        """Return the plan that keeps the fewest units out and holds this share of a grade; None: too many."""
        grade = replace(grade, mean_mm=_share(grade.mean_mm, margin), p99_mm=_share(grade.p99_mm, margin))
        if self._holds(self._plan, grade):
            return self._plan
        ranked = self._ranking()
        last = max(count for count in range(len(ranked)) if self._kept_share(count) <= most_kept)
        if not (last and self._holds(self._without(last), grade)):
            higher = KEPT[self._plan.precision]
            needed = f"more than {most_kept:.0%}" if most_kept < 1 else "all"
            self.lines.append(f"{grade.name} needs {needed} of the multiplies in {higher}{TOO_MANY}")
            return None
        low, high = 0, last  # the first does not hold, the last does
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._holds(self._without(middle), grade) else (middle, high)
        return self._without(high)

    def _kept_share(self, count: int) -> float:
        own = self._plan.precision
        return 1 - self._without(count).share(own) / self._plan.share(own)

    def _holds(self, plan: PrecisionPlan, grade: Grade) -> bool:
        own = sum(conv.precision == plan.precision for conv in plan.convs)
        self._progress(f"search, {own} convolutions in {plan.precision}")
        mean, p99 = self.error(plan)
        line = f"{own} convolutions in {plan.precision}: mean {mean:.3f}, p99 {p99:.2f} mm"
        self.lines += [line] if line not in self.lines else []
        return grade.holds(mean, p99, None)

    def _without(self, count: int) -> PrecisionPlan:
        """Keep the ``count`` units out that cost most error for their multiplies."""
        return self._keeping({name for name, _ in self._ranking()[:count]})

    def _keeping(self, out: set[str]) -> PrecisionPlan:
        """Return the plan with these units in the next higher precision."""
        alone = dict(self._ranking())
        whole = self._plan.precision == "int8"
        convs = [
            replace(conv, error_alone_mm=alone.get(conv.name if whole else segment_of(conv.name)))
            for conv in self._plan.convs
        ]
        names = {conv.name for conv in convs if (conv.name if whole else segment_of(conv.name)) in out}
        higher = KEPT[self._plan.precision]
        reason = f"kept in {higher} by the search: most error for its multiplies"
        return replace(self._plan, convs=tuple(convs)).keeping(names, higher, reason)

    def _ranking(self) -> list[tuple[str, float]]:
        """Return the units and the root mean square error of each alone, the first to keep out first."""
        if self._ranked is None:
            alone = self._errors_alone()
            macs: dict[str, int] = {}
            for conv in self._plan.convs:
                for unit in (conv.name, segment_of(conv.name)):
                    macs[unit] = macs.get(unit, 0) + conv.macs
            macs |= {conv.name: conv.macs for conv in self._plan.convs}
            self._ranked = sorted(alone.items(), key=lambda item: -(item[1] ** 2) / macs[item[0]])
        return self._ranked

    def _errors_alone(self) -> dict[str, float]:
        """Measure each unit alone in the lower precision, from the activations in front of it on."""
        exact, found = self._candidates.exact, {}
        weights = self._candidates.weights(self._plan)
        few = self._images[:SENSITIVITY_IMAGES]
        count = len(segments(exact))
        for index, (segment, x) in enumerate(segment_inputs(exact, few)):
            for unit, change in self._units(segment, weights):
                self._progress(f"{unit} alone", index / count)
                network = copy.deepcopy(exact)
                change(network)
                joints = run_from(network, index, x).numpy()
                mm = errors_mm(self._target[: len(few)], joints, self._volume)
                found[unit] = float(np.sqrt((mm**2).mean()))
        return found

    def _units(self, segment: Segment, weights: PlannedWeights) -> list[tuple[str, Callable[[ConvNeXtPose], None]]]:
        """Return the units of a segment, and what puts each into the lower precision."""
        if self._plan.precision != "int8":
            return (
                [(segment.name, lambda network: self._round(network, segment.name, weights))] if segment.convs else []
            )
        units: list[tuple[str, Callable[[ConvNeXtPose], None]]] = []
        for conv in self._plan.quantized:
            if conv.name in segment.convs and conv.input_scale is not None:
                scale, own = conv.input_scale, weights.int8[conv.name]
                units.append((conv.name, partial(quantize_conv, name=conv.name, input_scale=scale, weights=own)))
        return units

    def _round(self, network: ConvNeXtPose, name: str, weights: PlannedWeights) -> None:
        (segment,) = (one for one in segments(network) if one.name == name)
        for parameter, value in segment.module.named_parameters(prefix=name):
            value.data = weights.floats[parameter].float()
        round_values((segment,), BODY[self._plan.precision])


def _share(limit: float | None, margin: float) -> float | None:
    return None if limit is None else margin * limit


def error_mm(network: ConvNeXtPose, images: Images, target: Joints, volume: Volume) -> tuple[float, float]:
    """Return mean and p99 of the distances of a network's joints from ``target`` (N, J, 3) bins, in mm.

    Raises:
        CheckFailed: they are not finite; a search would take that for a precision that cannot be had.
    """
    mm = errors_mm(target, run_reference(network, images, 4), volume)
    mean, p99 = float(mm.mean()), float(np.quantile(mm, 0.99, method="inverted_cdf"))
    if not (math.isfinite(mean) and math.isfinite(p99)):
        do = "look at the calibration images, and at the checkpoint: `convnextpose inspect`"
        raise CheckFailed("the network's joints on calibration images are not finite", str(mean), do)
    return mean, p99
