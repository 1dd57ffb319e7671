"""Accuracy budgets: the grade of error that each precision must reach."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "fail", "inconclusive"]

PASS, WITHIN_ROUNDING = "pass", "within rounding error (no error budget: random weights)"
"""Status of a file that has passed, with and without a limit in mm."""


@dataclass(frozen=True)
class Grade:
    """One step of the error scale: limits in mm from the ground truth; None is no limit."""

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
    reason="a tenth of the error of the best published model, and half of it for one joint in a hundred",
)
UNUSABLE = Grade("unusable")
GRADES = {grade.name: grade for grade in (EXACT, NEAR, USABLE)}
"""The error scale, best first. All tolerances of parity are here."""

TARGET_GRADE = {"fp32": "exact", "fp16": "near", "bf16": "near", "int8": "usable"}
"""Grade that a precision is planned for."""
REQUIRED_GRADE = TARGET_GRADE | {"bf16": "usable"}
"""Grade that a precision must reach. BF16 has three bits of mantissa fewer than FP16: on nearly released weights,
rounding the activations alone exceeds *near*, and much of the network would stay in FP32 (docs/precision.md)."""

SIMULATION_FACTOR = 1.5
"""Largest ratio of a file's mean error to that of its simulated graph, in arithmetic like the simulation's."""

FP16_SUMS_FACTOR = 10.0
"""The same for random weights, where sums may be in FP16. (ONNX Runtime on aarch64 had 4.2 with random weights of
XS-atto's size, and 5.8 with its demo weights.)"""


@dataclass(frozen=True)
class Budget:
    """The error that a precision may have."""

    grade: str | None
    """The required grade; None for random weights, which have no limit in mm."""
    reference_factor: float | None
    """Largest ratio to the simulated graph's error, for the mean and, of ``P99_COUNT`` errors, for the p99: the file
    must compute what was planned. None for FP32, which has no simulation."""
    reason: str
    reference: str = "FP32 reference"
    """The graph that the candidate is compared with, besides the ground truth."""

    @property
    def limits(self) -> Grade:
        """The limits of its grade."""
        return GRADES[self.grade] if self.grade else UNUSABLE


def budget_for(precision: str, *, trained: bool, require: str | None = None) -> Budget:
    """Return the budget of a precision.

    With random weights, volumes have many peaks of nearly the same height, so that a rounding moves joints from one to
    another. This says nothing about a trained network, so the file is compared with its simulation only.
    """
    if precision == "fp32":
        return Budget(EXACT.name, None, EXACT.reason)
    grade = require or REQUIRED_GRADE[precision]
    reference = f"simulated {precision.upper()} graph"
    if trained:
        return Budget(grade, SIMULATION_FACTOR, GRADES[grade].reason, reference)
    reason = "random weights do not tell the accuracy loss of a precision; rounding must explain the error"
    return Budget(None, SIMULATION_FACTOR, reason, reference)


def within_budget(precision: str, mean_mm: float) -> str:
    """Return the meaning of a passed parity that allows a mean error; it says nothing of accuracy."""
    return f"within the {precision.upper()} budget (mean ≤ {mean_mm:g} mm)"


def status_of(outcome: Outcome, budget: Budget) -> str:
    """Return an outcome in words; a pass without a limit in mm says so."""
    return WITHIN_ROUNDING if outcome == PASS and budget.grade is None else outcome
