"""Comparison of a candidate's joints with the ground truth, within a budget.

The ground truth is the reference model in FP64. The FP32 reference model has an error of its own, and no artifact must
be nearer than that. A half precision or INT8 is also compared with its simulated graph, in which every value is
rounded: rounding must explain its error.

All functions are pure. Joints are (N, J, 3) in bins; an error is a Euclidean length in mm.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.common.plain import finite_or_none
from export.parity.budgets import EXACT, FP16_SUMS_FACTOR, GRADES, UNUSABLE, Budget, Grade, Outcome
from export.runtime.pose import Volume

Joints = NDArray[np.floating[Any]]
Statistic = Literal["max", "mean", "p99"]
Run = TypeVar("Run")
"""Key of one run of a candidate: its batch size, its runtime."""

NEEDED_SPREAD_MM = 50.0
"""Least spread of joints over images, and over joints. A network with a nearly constant output agrees with anything.
Freshly initialised weights showed 2e-5 mm over images (ConvNeXt's initialisation) and up to 17 mm (torch's default),
random weights with fitted statistics 560 mm and more; 50 mm is 500 times the tightest budget."""

FP32_FACTOR = 1.5
"""An artifact is exact if its error is at most this many times that of the FP32 reference, mean to mean and p99 to p99.
(The largest single error is one rounding accident; two sound graphs differed in it by 1.3.)"""

ANY_FP32_FACTOR = 10.0
"""The same on a processor that is unknown or is not x86-64. The shorter its vectors, the longer are the partial sums of
a softmax over a volume: ONNX Runtime on aarch64 had 3.9 times the mean error of the FP32 reference (docs/parity.md)."""

LEAST_REFERENCE_MM = 0.01
"""A simulated graph with a smaller error than this sets no limit: everything below is rounding."""

SIMULATION_P99_FACTOR = 3.0
"""Largest ratio of a file's p99 to that of its simulated graph. A dozen joints decide a p99, and two roundings move
different ones. (Sound BF16 graphs, run by OpenVINO and simulated, differed by 1.6, and by 2.0
on a processor with AMX.)"""

SIMULATION_SHARE = 0.85
"""Share of a grade that the simulation of a plan may use; above, its file hardly ever holds."""

SURE_SHARE = 0.55
"""Share up to which the file of a plan need not be tried: runtimes sum in another order, and the p99 of a file was up
to 1.3 times that of its simulation, and 1.4 times that of another runtime."""

P99_COUNT = 662
"""Fewest errors for comparing the p99s of two sound graphs: of a few hundred it is the largest or second largest, and
differed by 1.8 over 8 images. MLPerf's count for a 99th percentile (docs/measuring.md)."""


@dataclass(frozen=True)
class ErrorSummary:
    """Errors over all joints of all images; pixels are those of the crop, x and y only."""

    mean_mm: float
    p99_mm: float
    max_mm: float
    max_bins: float
    max_pixels: float


@dataclass(frozen=True)
class Limit:
    """One limit on a candidate's error."""

    statistic: Statistic
    allowed_mm: float
    measured_by: str
    """The error that the limit is derived from, for a message; empty where it is a limit of the grade."""


@dataclass(frozen=True)
class Spread:
    """Root mean square distance of the true joints from their mean, in mm."""

    over_images_mm: float
    over_joints_mm: float


@dataclass(frozen=True)
class Parity:
    """Result of comparing a candidate with the ground truth."""

    outcome: Outcome
    reason: str
    grade: str
    candidate: ErrorSummary
    reference: ErrorSummary
    """Error of the simulated graph; for FP32, of the FP32 reference."""
    floor: ErrorSummary
    """Error of the FP32 reference."""
    signal: Spread
    per_joint_max_mm: tuple[float, ...]
    worst_image: int
    worst_joint: int

    def as_json(self) -> dict[str, Any]:
        """Return plain data; an error that is not finite is null."""
        return dict(finite_or_none(asdict(self)))


def errors_mm(truth: Joints, candidate: Joints, volume: Volume) -> NDArray[np.float64]:
    """Return (N, J) errors in mm."""
    return np.asarray(np.linalg.norm((candidate.astype(np.float64) - truth) * volume.bin_mm, axis=2))


def summarize_errors(truth: Joints, candidate: Joints, volume: Volume) -> ErrorSummary:
    """Return the errors' statistics; NaN anywhere gives NaN."""
    mm = errors_mm(truth, candidate, volume)
    bins = candidate.astype(np.float64) - truth
    return ErrorSummary(
        mean_mm=float(mm.mean()),
        p99_mm=float(np.quantile(mm, 0.99, method="inverted_cdf")),
        max_mm=float(mm.max()),
        max_bins=float(np.linalg.norm(bins, axis=2).max()),
        max_pixels=float(np.linalg.norm(bins[..., :2], axis=2).max()) * volume.bin_pixels,
    )


def joint_spread(truth: Joints, volume: Volume) -> Spread:
    """Return how far joints move from image to image, and how far apart they are within one."""
    over_images = errors_mm(np.broadcast_to(truth.mean(axis=0), truth.shape), truth, volume)
    over_joints = errors_mm(np.broadcast_to(truth.mean(axis=1, keepdims=True), truth.shape), truth, volume)
    return Spread(float(np.sqrt((over_images**2).mean())), float(np.sqrt((over_joints**2).mean())))


def fp32_factor(machine: str) -> float:
    """Return the factor to the FP32 reference's error that is exact on a processor, named as ``platform.machine()``."""
    return FP32_FACTOR if machine in ("x86_64", "AMD64") else ANY_FP32_FACTOR


def error_limits(
    budget: Budget,
    reference: ErrorSummary,
    fp32: ErrorSummary,
    count: int,
    *,
    sums_in_fp32: bool = True,
    factor_to_fp32: float = FP32_FACTOR,
) -> tuple[Limit, ...]:
    """Return the limits that follow from a budget.

    The simulation sums in FP32. A processor may sum in FP16 as well, as ONNX Runtime does on aarch64, and computes
    nothing wrong if its error is larger. So there only the grade limits trained weights; random weights have none, and
    get a wider limit.

    Args:
        budget: of the precision.
        reference: errors of the simulated graph; for FP32, of the FP32 reference.
        fp32: errors of the FP32 reference.
        count: number of joints over all images.
        sums_in_fp32: whether the candidate is known to sum in FP32.
        factor_to_fp32: see ``fp32_factor``.
    """
    limits = list(_grade_limits(budget.limits, fp32, factor_to_fp32))
    factor = budget.reference_factor
    if factor is None or not (sums_in_fp32 or budget.grade is None):
        return tuple(limits)
    derived = f" × the {budget.reference}'s own"
    factor = factor if sums_in_fp32 else FP16_SUMS_FACTOR
    if reference.mean_mm > LEAST_REFERENCE_MM:
        limits.append(Limit("mean", factor * reference.mean_mm, f", {factor:g}{derived}"))
    if sums_in_fp32 and count >= P99_COUNT and reference.p99_mm > LEAST_REFERENCE_MM:
        allowed = SIMULATION_P99_FACTOR * reference.p99_mm
        limits.append(Limit("p99", allowed, f", {SIMULATION_P99_FACTOR:g}{derived}"))
    return tuple(limits)


def _grade_limits(grade: Grade, fp32: ErrorSummary, factor: float) -> tuple[Limit, ...]:
    """Return the limits of a grade; none is below ``factor`` times the FP32 reference's error."""
    derived = f", {factor:g} × the FP32 reference's own"
    if grade.max_mm is not None and factor * fp32.max_mm > grade.max_mm:
        return Limit("mean", factor * fp32.mean_mm, derived), Limit("p99", factor * fp32.p99_mm, derived)
    limits: tuple[tuple[Statistic, float | None, float], ...] = (
        ("max", grade.max_mm, 0.0),
        ("mean", grade.mean_mm, factor * fp32.mean_mm),
        ("p99", grade.p99_mm, factor * fp32.p99_mm),
    )
    return tuple(
        Limit(statistic, max(allowed, least), derived if least > allowed else "")
        for statistic, allowed, least in limits
        if allowed is not None
    )


def _first_exceeded(error: ErrorSummary, limits: tuple[Limit, ...]) -> Limit | None:
    """Return the first limit that these errors exceed; NaN exceeds every limit."""
    return next((limit for limit in limits if not getattr(error, f"{limit.statistic}_mm") <= limit.allowed_mm), None)


def simulation_is_within(truth: Joints, simulation: Joints, volume: Volume, grade: Grade, share: float) -> bool:
    """Return whether a plan's simulation is within a share of a grade, which leaves room for differences of runtimes.

    Args:
        truth: (N, J, 3) bins of the reference model in FP64.
        simulation: (N, J, 3) bins of the simulated graph.
        volume: turns bins into mm.
        grade: its limits on mean and p99.
        share: of these limits.
    """
    error = summarize_errors(truth, simulation, volume)
    return grade.holds(error.mean_mm / share, error.p99_mm / share, None)


def best_grade(candidate: ErrorSummary, fp32: ErrorSummary, factor_to_fp32: float = FP32_FACTOR) -> str:
    """Return the best grade that these errors reach, given those of the FP32 reference; see ``fp32_factor``."""
    grades = (
        grade
        for grade in GRADES.values()
        if _first_exceeded(candidate, _grade_limits(grade, fp32, factor_to_fp32)) is None
    )
    return next(grades, UNUSABLE).name


def compare_joints(
    truth: Joints,
    fp32: Joints,
    candidate: Joints,
    volume: Volume,
    budget: Budget,
    simulation: Joints | None = None,
    *,
    sums_in_fp32: bool = True,
    factor_to_fp32: float = FP32_FACTOR,
) -> Parity:
    """Compare (N, J, 3) joints of a candidate with the ground truth; NaN fails.

    Args:
        truth: of the reference model in FP64.
        fp32: of the FP32 reference; its error is always allowed.
        candidate: of the artifact.
        volume: turns bins into mm.
        budget: the allowed error.
        simulation: of the simulated graph that the artifact must compute; None for FP32.
        sums_in_fp32: whether the candidate is known to sum in FP32, as the simulation does.
        factor_to_fp32: see ``fp32_factor``.

    Raises:
        BadInput: the arrays differ in shape.
    """
    reference = fp32 if simulation is None else simulation
    if not truth.shape == fp32.shape == reference.shape == candidate.shape or truth.ndim != 3 or truth.shape[2] != 3:
        shapes = f"ground truth {truth.shape}, reference {reference.shape}, candidate {candidate.shape}"
        raise BadInput("joints cannot be compared", shapes, "all must be (images, joints, 3)")
    mm = errors_mm(truth, candidate, volume)
    worst_image, worst_joint = np.unravel_index(int(np.argmax(np.where(np.isfinite(mm), mm, np.inf))), mm.shape)
    spread = joint_spread(truth, volume)
    error, reference_error, fp32_error = (summarize_errors(truth, x, volume) for x in (candidate, reference, fp32))
    if reason := _undecidable(spread, reference_error, fp32_error):
        outcome: Outcome = "inconclusive"
    else:
        limits = error_limits(
            *(budget, reference_error, fp32_error, mm.size), sums_in_fp32=sums_in_fp32, factor_to_fp32=factor_to_fp32
        )
        outcome, reason = _decide(error, fp32_error, limits)
    return Parity(
        outcome=outcome,
        reason=reason,
        grade=best_grade(error, fp32_error, factor_to_fp32),
        candidate=error,
        reference=reference_error,
        floor=fp32_error,
        signal=spread,
        per_joint_max_mm=tuple(float(v) for v in mm.max(axis=0)),
        worst_image=int(worst_image),
        worst_joint=int(worst_joint),
    )


def worst_run(runs: Mapping[Run, Parity]) -> tuple[Run, Parity]:
    """Return the run with the worst outcome, and of equal outcomes the one with the largest error (NaN is largest)."""

    def badness(item: tuple[Run, Parity]) -> tuple[int, float]:
        largest = item[1].candidate.max_mm
        return ("pass", "fail", "inconclusive").index(item[1].outcome), np.inf if np.isnan(largest) else largest

    return max(runs.items(), key=badness)


def require_parity(outcome: str, reason: str, artifact: str) -> None:
    """Raise the error that ends the command, unless the outcome is a pass.

    Raises:
        CheckFailed: the candidate's error exceeds its budget.
        Inconclusive: the joints hardly vary, are not finite, or the network was not trained on such images.
    """
    if outcome == "inconclusive":
        do = (
            "pass --images DIR with crops like those that the network was trained on; "
            "use trained weights, or the random weights that this tool makes"
        )
        raise Inconclusive(f"the parity of {artifact} is inconclusive", reason, do)
    if outcome != "pass":
        raise CheckFailed(f"{artifact} exceeds the error budget of its precision", reason, "do not ship it")


def _undecidable(spread: Spread, reference: ErrorSummary, fp32: ErrorSummary) -> str:
    """Return why the references decide nothing; empty if they do."""
    if not np.isfinite(spread.over_images_mm):
        return "the ground truth is not finite"
    if not (spread.over_images_mm >= NEEDED_SPREAD_MM and spread.over_joints_mm >= NEEDED_SPREAD_MM):
        return (
            f"joints spread {spread.over_images_mm:.3g} mm over images and {spread.over_joints_mm:.3g} mm over joints; "
            f"below {NEEDED_SPREAD_MM:g} mm anything agrees with anything"
        )
    return "" if np.isfinite(reference.max_mm) and np.isfinite(fp32.max_mm) else "the reference is not finite"


def _decide(candidate: ErrorSummary, fp32: ErrorSummary, limits: tuple[Limit, ...]) -> tuple[Outcome, str]:
    if not np.isfinite(candidate.max_mm):
        return "fail", "a joint is not finite"
    if limit := _first_exceeded(candidate, limits):
        error = getattr(candidate, f"{limit.statistic}_mm")
        return "fail", f"{limit.statistic} error {error:.3g} mm, allowed {limit.allowed_mm:.3g} mm{limit.measured_by}"
    note = "; FP32 itself is not exact here" if FP32_FACTOR * fp32.max_mm > (EXACT.max_mm or 0) else ""
    return "pass", f"max error {candidate.max_mm:.3g} mm, the FP32 reference's own {fp32.max_mm:.3g} mm{note}"
