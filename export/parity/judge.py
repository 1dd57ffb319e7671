"""How far a candidate's joints lie from the truth, and whether that may be.

Truth is the released network in PyTorch FP64. A reference is judged beside the candidate: its own distance
from the truth is the floor that no artefact is asked to go below. For FP32 that is the network as released,
in FP32; for a half precision it is the half graph with every value rounded, so that a candidate may not be
much farther away than rounding explains.

All functions here are pure. Joints are (N, J, 3) in bins; a distance is the Euclidean length of the
difference in mm, through the edge lengths of a bin.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.common.plain import finite_or_none
from export.model.pose import Volume

Joints = NDArray[np.floating[Any]]
Outcome = Literal["pass", "fail", "inconclusive"]
Run = TypeVar("Run")
"""What tells one run of a candidate from another: its batch size, its runtime."""

NEEDED_SIGNAL_MM = 50.0
"""Joints must spread at least this far over images, and over joints. Networks whose output hardly varies
agree with anything. Freshly initialised ones showed 2e-5 mm over images (ConvNeXt's own initialisation) and up to
17 mm (torch's default), stand-in weights 560 mm and more; 50 mm is 500 times the tightest budget."""


@dataclass(frozen=True)
class Grade:
    """One step of the scale of errors, in mm from the ground truth; None is not asked for."""

    name: str
    mean_mm: float | None = None
    p99_mm: float | None = None
    max_mm: float | None = None
    reason: str = ""

    def holds(self, mean_mm: float, p99_mm: float, max_mm: float | None) -> bool:
        """Return whether these errors are within the grade; NaN never is."""
        pairs = ((mean_mm, self.mean_mm), (p99_mm, self.p99_mm), (max_mm, self.max_mm))
        return all(value is not None and value <= limit for value, limit in pairs if limit is not None)


EXACT = Grade(
    "exact",
    max_mm=0.1,
    reason="only the order of operations differs from the FP32 reference; 0.1 mm is below any use of a pose",
)
NEAR = Grade(
    "near",
    mean_mm=1.0,
    p99_mm=5.0,
    reason="1 mm is a fiftieth of the error that is published for these networks; more is to be chosen knowingly",
)
USABLE = Grade(
    "usable",
    mean_mm=5.0,
    p99_mm=25.0,
    reason="a tenth of what the best published model is off, and one joint in a hundred off by half of it",
)
UNUSABLE = Grade("unusable")
GRADES = {grade.name: grade for grade in (EXACT, NEAR, USABLE)}
"""The scale of errors, best first. There is no other place for tolerances of parity."""

AIM = {"fp32": "exact", "fp16": "near", "bf16": "near", "int8": "usable"}
"""Grade that a precision is planned for."""
REQUIRED = AIM | {"bf16": "usable"}
"""Grade that it must reach. BF16 has three bits of mantissa fewer than FP16: on nearly released weights rounding the
activations alone costs more than *near* allows, and much of the network would stay in FP32 (docs/precision.md)."""

FLOOR_FACTOR = 1.5
"""An artifact is exact if it is at most this many times as far from the ground truth as the FP32 reference itself, mean
to mean and p99 to p99. (The largest single error is one rounding accident; two sound graphs differed in it by 1.3.)"""

REFERENCE_MATTERS_MM = 0.01
"""A simulated reference nearer to the ground truth than this is no floor: everything down there is rounding."""

SIMULATION_P99_FACTOR = 2.0
"""Largest ratio of a file's p99 to that of its simulated graph. A dozen joints decide a p99, and two roundings move
different ones. (Of sound BF16 graphs, run by OpenVINO and simulated, it was seen to differ by 1.6.)"""

SIMULATED_SHARE = 0.85
"""Share of a grade that the simulation of a plan may use: runtimes sum in another order, and a file was seen at 1.3
times the p99 of its simulation."""

P99_NEEDS = 662
"""Errors below which the p99s of two sound graphs are not compared: of a few hundred it is the largest or second
largest, and was seen to differ by 1.8 over 8 images. MLPerf's count for a 99th percentile (docs/measuring.md)."""


@dataclass(frozen=True)
class Budget:
    """The error that a precision may have."""

    grade: str | None
    """The grade that it must reach; None: weights that were never trained, of which no error in mm is asked."""
    reference_factor: float | None
    """At most this many times the error of the simulated graph, mean to mean and, of ``P99_NEEDS`` errors, p99 to p99:
    the file must compute what was planned. None for FP32, which has no simulation."""
    reason: str
    reference: str = "FP32 reference"
    """What stands beside the candidate."""

    @property
    def limits(self) -> Grade:
        """The limits of its grade."""
        return GRADES[self.grade] if self.grade else UNUSABLE


def budget_for(precision: str, *, trained: bool, require: str | None = None) -> Budget:
    """Return the precision's budget.

    On weights that were never trained a half precision or INT8 is only compared with its simulation: their volumes have
    many peaks of nearly the same height, so that a rounding moves joints from one to another, which says nothing about
    a network that localizes.
    """
    if precision == "fp32":  # whatever is asked of the others
        return Budget(EXACT.name, None, EXACT.reason)
    grade = require or REQUIRED[precision]
    reference = f"simulated {precision.upper()} graph"
    if trained:
        return Budget(grade, FLOOR_FACTOR, GRADES[grade].reason, reference)
    reason = "random weights do not tell what a precision costs; asked is only that rounding explains the error"
    return Budget(None, FLOOR_FACTOR, reason, reference)


PASSED, EXPLAINED = "pass", "within rounding error (no error budget: random weights)"


def status_of(outcome: Outcome, budget: Budget) -> str:
    """Return an outcome in words: where no error in mm was asked for, nothing is said to be near to the truth."""
    return EXPLAINED if outcome == PASSED and budget.grade is None else outcome


@dataclass(frozen=True)
class Distance:
    """Distances from the truth over all joints of all images; pixels are those of the crop, x and y only."""

    mean_mm: float
    p99_mm: float
    max_mm: float
    max_bins: float
    max_pixels: float


@dataclass(frozen=True)
class Limit:
    """One bound that a candidate's distances must keep."""

    statistic: Literal["max", "mean", "p99"]
    allowed_mm: float
    measured_by: str
    """What it was derived from; empty for a bound of the budget's own."""


@dataclass(frozen=True)
class Signal:
    """How much the truth varies: root mean square distance from the mean, in mm."""

    over_images_mm: float
    over_joints_mm: float


@dataclass(frozen=True)
class Parity:
    """One candidate judged."""

    outcome: Outcome
    reason: str
    grade: str
    candidate: Distance
    reference: Distance
    floor: Distance
    """Of the FP32 reference."""
    signal: Signal
    per_joint_max_mm: tuple[float, ...]
    worst_image: int
    worst_joint: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; a distance that is not finite is written as null."""
        return dict(finite_or_none(asdict(self)))


def millimetres(truth: Joints, candidate: Joints, volume: Volume) -> NDArray[np.float64]:
    """(N, J) Euclidean distances in mm."""
    return np.asarray(np.linalg.norm((candidate.astype(np.float64) - truth) * volume.bin_mm, axis=2))


def distance(truth: Joints, candidate: Joints, volume: Volume) -> Distance:
    """Summarise how far ``candidate`` lies from ``truth``; NaN anywhere gives NaN."""
    mm = millimetres(truth, candidate, volume)
    bins = candidate.astype(np.float64) - truth
    flat = np.linalg.norm(bins[..., :2], axis=2)
    return Distance(
        mean_mm=float(mm.mean()),
        p99_mm=float(np.quantile(mm, 0.99, method="inverted_cdf")),
        max_mm=float(mm.max()),
        max_bins=float(np.linalg.norm(bins, axis=2).max()),
        max_pixels=float(flat.max()) * volume.bin_pixels,
    )


def limits_of(budget: Budget, reference: Distance, floor: Distance, count: int) -> tuple[Limit, ...]:
    """Return what a budget allows.

    Args:
        budget: of the precision.
        reference: errors of the simulated graph; of FP32, of the FP32 reference.
        floor: errors of the FP32 reference.
        count: joints of all images.
    """
    limits = list(_grade_limits(budget.limits, floor))
    if (factor := budget.reference_factor) is not None:
        own = f" × the {budget.reference}'s own"
        if reference.mean_mm > REFERENCE_MATTERS_MM:
            limits.append(Limit("mean", factor * reference.mean_mm, f", {factor:g}{own}"))
        if count >= P99_NEEDS and reference.p99_mm > REFERENCE_MATTERS_MM:
            allowed = SIMULATION_P99_FACTOR * reference.p99_mm
            limits.append(Limit("p99", allowed, f", {SIMULATION_P99_FACTOR:g}{own}"))
    return tuple(limits)


def _grade_limits(grade: Grade, floor: Distance) -> tuple[Limit, ...]:
    """Return the limits of a grade; none lies below ``FLOOR_FACTOR`` times the FP32 reference's own error."""
    own = f", {FLOOR_FACTOR:g} × the FP32 reference's own"
    if grade.max_mm is not None and FLOOR_FACTOR * floor.max_mm > grade.max_mm:
        return Limit("mean", FLOOR_FACTOR * floor.mean_mm, own), Limit("p99", FLOOR_FACTOR * floor.p99_mm, own)
    bounds: tuple[tuple[Literal["max", "mean", "p99"], float | None, float], ...] = (
        ("max", grade.max_mm, 0.0),
        ("mean", grade.mean_mm, FLOOR_FACTOR * floor.mean_mm),
        ("p99", grade.p99_mm, FLOOR_FACTOR * floor.p99_mm),
    )
    return tuple(
        Limit(statistic, max(allowed, least), own if least > allowed else "")
        for statistic, allowed, least in bounds
        if allowed is not None
    )


def simulation_holds(truth: Joints, simulation: Joints, volume: Volume, grade: Grade) -> bool:
    """Return whether a plan's simulation is within a grade, with room for what a runtime adds.

    Args:
        truth: (N, J, 3) bins of the reference model in FP64.
        simulation: (N, J, 3) bins of the simulated graph.
        volume: what turns bins into mm.
        grade: its limits on mean and p99.
    """
    error = distance(truth, simulation, volume)
    return grade.holds(error.mean_mm / SIMULATED_SHARE, error.p99_mm / SIMULATED_SHARE, None)


def grade_of(candidate: Distance, floor: Distance) -> str:
    """Return the best grade that these errors reach beside the FP32 reference's own."""
    for grade in GRADES.values():
        if all(getattr(candidate, f"{of.statistic}_mm") <= of.allowed_mm for of in _grade_limits(grade, floor)):
            return grade.name
    return UNUSABLE.name


def signal(truth: Joints, volume: Volume) -> Signal:
    """How far joints move from image to image, and how far they lie apart within one."""
    over_images = millimetres(np.broadcast_to(truth.mean(axis=0), truth.shape), truth, volume)
    over_joints = millimetres(np.broadcast_to(truth.mean(axis=1, keepdims=True), truth.shape), truth, volume)
    return Signal(float(np.sqrt((over_images**2).mean())), float(np.sqrt((over_joints**2).mean())))


def judge(
    truth: Joints, floor: Joints, candidate: Joints, volume: Volume, budget: Budget, simulation: Joints | None = None
) -> Parity:
    """Judge (N, J, 3) joints of a candidate; comparisons are written so that NaN fails.

    Args:
        truth: of the reference model in FP64.
        floor: of the FP32 reference, whose own error no artifact is asked to go below.
        candidate: of the artifact.
        volume: turns bins into mm.
        budget: what is allowed.
        simulation: of the simulated graph that the artifact must compute; None for FP32.

    Raises:
        BadInput: the arrays do not have one shape.
    """
    reference = floor if simulation is None else simulation
    if not truth.shape == floor.shape == reference.shape == candidate.shape or truth.ndim != 3 or truth.shape[2] != 3:
        seen = f"truth {truth.shape}, reference {reference.shape}, candidate {candidate.shape}"
        raise BadInput("joints cannot be compared", seen, "all must be (images, joints, 3)")
    mm = millimetres(truth, candidate, volume)
    worst_image, worst_joint = np.unravel_index(int(np.argmax(np.where(np.isfinite(mm), mm, np.inf))), mm.shape)
    seen_signal = signal(truth, volume)
    errors = [distance(truth, joints, volume) for joints in (candidate, reference, floor)]
    outcome, reason = _decide(errors[0], errors[1], errors[2], seen_signal, budget, mm.size)
    return Parity(
        outcome=outcome,
        reason=reason,
        grade=grade_of(errors[0], errors[2]),
        candidate=errors[0],
        reference=errors[1],
        floor=errors[2],
        signal=seen_signal,
        per_joint_max_mm=tuple(float(v) for v in mm.max(axis=0)),
        worst_image=int(worst_image),
        worst_joint=int(worst_joint),
    )


def worst_of(judged: Mapping[Run, Parity]) -> tuple[Run, Parity]:
    """The run with the worst outcome, and among equals the one with the largest distance (NaN is the largest)."""

    def badness(item: tuple[Run, Parity]) -> tuple[int, float]:
        largest = item[1].candidate.max_mm
        return ("pass", "fail", "inconclusive").index(item[1].outcome), np.inf if np.isnan(largest) else largest

    return max(judged.items(), key=badness)


def require(outcome: str, reason: str, what: str) -> None:
    """Turn an outcome that is not a pass into the matching end of the command.

    Raises:
        CheckFailed: the candidate is too far from the truth.
        Inconclusive: the truth hardly varies, is itself not finite, or the network does not know the images.
    """
    if outcome == "inconclusive":
        do = (
            "pass --images DIR with crops of what the network was trained on; "
            "use trained weights, or the stand-in weights that this tool makes"
        )
        raise Inconclusive(f"the parity of {what} cannot be judged", reason, do)
    if outcome != "pass":
        raise CheckFailed(f"{what} is farther from the truth than its precision may be", reason, "do not ship it")


def _decide(
    candidate: Distance, reference: Distance, floor: Distance, seen: Signal, budget: Budget, count: int
) -> tuple[Outcome, str]:
    if not np.isfinite(seen.over_images_mm):
        return "inconclusive", "the truth itself is not finite"
    if not (seen.over_images_mm >= NEEDED_SIGNAL_MM and seen.over_joints_mm >= NEEDED_SIGNAL_MM):
        return "inconclusive", (
            f"joints spread {seen.over_images_mm:.3g} mm over images and {seen.over_joints_mm:.3g} mm over joints; "
            f"below {NEEDED_SIGNAL_MM:g} mm anything agrees with anything"
        )
    if not (np.isfinite(reference.max_mm) and np.isfinite(floor.max_mm)):
        return "inconclusive", "the reference itself is not finite"
    if not np.isfinite(candidate.max_mm):
        return "fail", "a joint is not finite"
    for limit in limits_of(budget, reference, floor, count):
        own = getattr(candidate, f"{limit.statistic}_mm")
        if not own <= limit.allowed_mm:
            return "fail", f"{limit.statistic} error {own:.3g} mm, allowed {limit.allowed_mm:.3g} mm{limit.measured_by}"
    beside = f"the FP32 reference's own {floor.max_mm:.3g} mm"
    note = "; FP32 itself is not exact here" if FLOOR_FACTOR * floor.max_mm > (EXACT.max_mm or 0) else ""
    return "pass", f"max error {candidate.max_mm:.3g} mm, {beside}{note}"
