"""Search for a plan within its error budget, in simulation on calibration images.

A plan also has to hold on the parity images, where the caller checks it. If the whole network in the lower precision
does not hold, its units (convolutions for INT8, segments for half precision) are ranked by error squared per multiply.
Bisection finds how many of them to keep in the next higher precision. Then they are tried one by one in the lower
precision again, since the effect of a unit depends on the others.
"""

import copy
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from export.common.errors import CheckFailed
from export.common.progress import Progress, no_progress
from export.graph.precision import BODY
from export.graph.segments import Segment, run_from, segments
from export.images.image_set import Images, ImageSet
from export.model.network import ConvNeXtPose
from export.model.reference import run_reference
from export.parity.budgets import GRADES, REQUIRED_GRADE, TARGET_GRADE, Grade
from export.parity.comparison import SIMULATION_SHARE, Joints, errors_mm
from export.plan.patches import NOT_FINITE, sampled_inputs
from export.plan.placement import PlannedConv, place, segment_of
from export.plan.planned import PlannedWeights, quantize_conv, round_values, simulated_graph
from export.plan.precision_plan import HIGHER, TOO_MANY, PrecisionPlan
from export.plan.weights import Candidates, prepare
from export.runtime.pose import Volume

SENSITIVITY_IMAGES = 16
"""Number of images for the error of each unit alone; enough to rank units."""
MOST_RETURNED = 16
"""Largest number of raised units that are tried in the lower precision again."""
MOST_IN_FP32 = 0.25
"""Largest share of the multiplies that a half precision leaves in FP32 to reach its target grade. More leaves little of
its speed, and the search settles for the required grade."""

Unit = tuple[str, Callable[[ConvNeXtPose], None]]
"""Name of a unit, and a function that puts it into the lower precision."""
PlanCheck = Callable[[PrecisionPlan, PlannedWeights, Grade], bool]


def initial_plan(reference: ConvNeXtPose, precision: str, calibration: ImageSet) -> PrecisionPlan:
    """Return the plan by rule, without measurements."""
    architecture = reference.architecture
    return PrecisionPlan(
        precision=precision,
        architecture=architecture,
        convs=place(architecture, precision),
        calibration=calibration.record,
    )


def search_plan(
    reference: ConvNeXtPose,
    precision: str,
    calibration: ImageSet,
    *,
    trained: bool,
    holds_on_parity_images: PlanCheck,
    require: str | None = None,
    progress: Progress = no_progress,
) -> tuple[PrecisionPlan, PlannedWeights]:
    """Find a plan with an error within the budget on the calibration and the parity images, and its weights.

    If even one unit is too much, the plan has none in ``precision``. Untrained weights are not searched: their volumes
    have many peaks of nearly the same height, so that their errors say nothing about a trained network.

    Args:
        reference: the released network.
        precision: fp16, bf16 or int8.
        calibration: images like those of the training.
        trained: whether the weights are trained.
        holds_on_parity_images: whether a plan reaches a grade there; all that the search learns about these images.
        require: the grade that the user requires; None for the precision's own.
        progress: called before each measurement.

    Raises:
        CheckFailed: values or joints are not finite.
    """
    start = time.monotonic()
    plan, candidates = prepare(reference, initial_plan(reference, precision, calibration), calibration.images, progress)
    search = _Search(reference, plan, candidates, calibration.images, holds_on_parity_images, progress)
    if not trained:
        mean, p99 = search.error(plan)
        plan = replace(plan, mean_mm=mean, p99_mm=p99, search=("not searched: the weights were never trained",))
        return plan, candidates.weights(plan)
    aims = [require] if require else list(dict.fromkeys((TARGET_GRADE[precision], REQUIRED_GRADE[precision])))
    best = search.find(aims)
    mean, p99 = search.error(best)
    seconds = round(time.monotonic() - start, 1)
    best = replace(best, mean_mm=mean, p99_mm=p99, search=tuple(search.lines), search_seconds=seconds)
    return best, candidates.weights(best)


class _Search:
    """The measurements of one search, and its log."""

    def __init__(
        self,
        reference: ConvNeXtPose,
        plan: PrecisionPlan,
        candidates: Candidates,
        images: Images,
        holds_on_parity_images: PlanCheck,
        progress: Progress,
    ) -> None:
        self.lines: list[str] = []
        self._reference, self._plan, self._candidates = reference, plan, candidates
        self._images, self._holds_on_parity_images, self._progress = images, holds_on_parity_images, progress
        self._volume = Volume.from_architecture(reference.architecture)
        self._target = run_reference(candidates.exact, images, 4)
        self._ranked: dict[str, float] = {}
        self._errors: dict[frozenset[str], tuple[float, float]] = {}

    def error(self, plan: PrecisionPlan) -> tuple[float, float]:
        """Return mean and p99 of a plan's simulated error, in mm."""
        key = plan.in_own_precision
        if key not in self._errors:
            network = simulated_graph(self._reference, plan, self._candidates.weights(plan))
            self._errors[key] = error_mm(network, self._images, self._target, self._volume)
        return self._errors[key]

    def find(self, aims: Sequence[str]) -> PrecisionPlan:
        """Return a plan that reaches the first possible grade; or else one with nothing in its own precision."""
        for aim in aims:
            if plan := self._fewest_raised(GRADES[aim], 1.0 if aim == aims[-1] else MOST_IN_FP32):
                return replace(plan, aim=aim)
        return self._plan.raise_precision(self._plan.in_own_precision, "no plan holds the error budget")

    def _fewest_raised(self, grade: Grade, most_raised: float) -> PrecisionPlan | None:
        """Return a plan that reaches a grade and raises at most this share of the multiplies; None if there is none."""
        if self._holds(self._plan, grade):
            return self._plan
        ranking = list(self._ranking())
        low, count = 0, max(n for n in range(len(ranking) + 1) if self._raised_share(n) <= most_raised)
        holds = count == len(ranking) or (count > 0 and self._holds(self._raise_first(count), grade))
        while holds and count - low > 1:  # ``low`` units are too few, ``count`` are enough
            middle = (low + count) // 2
            low, count = (low, middle) if self._holds(self._raise_first(middle), grade) else (middle, count)
        raised = ranking[:count]
        for unit in ranking[max(0, count - 1 - MOST_RETURNED) : count - 1][::-1] if holds else []:
            fewer = [name for name in raised if name != unit]
            if self._holds(self._raise(fewer), grade):
                raised = fewer
        if holds and len(raised) < len(ranking):
            return self._raise(raised)
        amount = f"more than {most_raised:.0%}" if most_raised < 1 else "all"
        self.lines.append(f"{grade.name} needs {amount} of the multiplies in {HIGHER[self._plan.precision]}{TOO_MANY}")
        return None

    def _raised_share(self, count: int) -> float:
        precision = self._plan.precision
        return 1 - self._raise_first(count).share(precision) / self._plan.share(precision)

    def _holds(self, plan: PrecisionPlan, grade: Grade) -> bool:
        """Return whether a plan reaches a grade, on the calibration and the parity images.

        One or two of 64 images, with joints at two likely places, decide the p99. So a plan that holds on some images
        may not hold on others.
        """
        self._progress(f"search, {_size(plan)}")
        mean, p99 = self.error(plan)
        line = f"{_size(plan)}: mean {mean:.3f}, p99 {p99:.2f} mm"
        self.lines += [line] if line not in self.lines else []
        if not grade.holds(mean / SIMULATION_SHARE, p99 / SIMULATION_SHARE, None):
            return False
        holds = self._holds_on_parity_images(plan, self._candidates.weights(plan), grade)
        self.lines += [] if holds else [f"{_size(plan)}: not {grade.name} on the parity images"]
        return holds

    def _raise_first(self, count: int) -> PrecisionPlan:
        """Return the plan with the first ``count`` units of the ranking in the next higher precision."""
        return self._raise(list(self._ranking())[:count])

    def _raise(self, raised: Collection[str]) -> PrecisionPlan:
        """Return the plan with these units in the next higher precision."""
        ranking = self._ranking()
        convs = [replace(conv, error_alone_mm=ranking.get(self._unit_of(conv))) for conv in self._plan.convs]
        names = {conv.name for conv in convs if self._unit_of(conv) in raised}
        reason = f"kept in {HIGHER[self._plan.precision]} by the search: most error for its multiplies"
        return replace(self._plan, convs=tuple(convs)).raise_precision(names, reason)

    def _ranking(self) -> dict[str, float]:
        """Return unit → RMS error of it alone, in mm; the first to raise comes first."""
        if not self._ranked:
            macs: dict[str, int] = {}
            for conv in self._plan.convs:
                unit = self._unit_of(conv)
                macs[unit] = macs.get(unit, 0) + conv.macs
            errors = self._errors_alone()
            self._ranked = dict(sorted(errors.items(), key=lambda item: -(item[1] ** 2) / macs[item[0]]))
        return self._ranked

    def _unit_of(self, conv: PlannedConv) -> str:
        return conv.name if self._plan.precision == "int8" else segment_of(conv.name)

    def _errors_alone(self) -> dict[str, float]:
        """Measure each unit alone in the lower precision, from the activations before it."""
        exact, errors = self._candidates.exact, {}
        weights = self._candidates.weights(self._plan)
        images = self._images[:SENSITIVITY_IMAGES]
        count = len(segments(exact))
        for index, (segment, x, _) in enumerate(sampled_inputs(exact, images, ())):
            for unit, lower in self._units(segment, weights):
                self._progress(f"{unit} alone", index / count)
                network = copy.deepcopy(exact)
                lower(network)
                joints = run_from(network, index, x).numpy()
                mm = errors_mm(self._target[: len(images)], joints, self._volume)
                errors[unit] = float(np.sqrt((mm**2).mean()))
        return errors

    def _units(self, segment: Segment, weights: PlannedWeights) -> Iterator[Unit]:
        """Yield the units of a segment."""
        if self._plan.precision != "int8":
            if segment.convs:
                dtype = BODY[self._plan.precision]
                yield segment.name, partial(_round_segment, name=segment.name, weights=weights, dtype=dtype)
            return
        for conv in self._plan.quantized:
            if conv.name in segment.convs:
                assert conv.input_scale is not None
                int8 = weights.int8[conv.name]
                yield conv.name, partial(quantize_conv, name=conv.name, input_scale=conv.input_scale, weights=int8)


def _round_segment(network: ConvNeXtPose, name: str, weights: PlannedWeights, dtype: torch.dtype) -> None:
    """Simulate one segment of ``network`` in half precision, in place."""
    (segment,) = (segment for segment in segments(network) if segment.name == name)
    for parameter, value in segment.module.named_parameters(prefix=name):
        value.data = weights.floats[parameter].float()
    round_values((segment,), dtype)


def _size(plan: PrecisionPlan) -> str:
    return f"{len(plan.in_own_precision)} convolutions in {plan.precision}"


def error_mm(network: ConvNeXtPose, images: Images, target: Joints, volume: Volume) -> tuple[float, float]:
    """Return mean and p99 of the distances of a network's joints from ``target`` (N, J, 3) bins, in mm.

    Raises:
        CheckFailed: they are not finite; a search would mistake that for an impossible precision.
    """
    mm = errors_mm(target, run_reference(network, images, 4), volume)
    mean, p99 = float(mm.mean()), float(np.quantile(mm, 0.99, method="inverted_cdf"))
    if not (math.isfinite(mean) and math.isfinite(p99)):
        raise CheckFailed("the network's joints on calibration images are not finite", str(mean), NOT_FINITE)
    return mean, p99
