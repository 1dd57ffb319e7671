"""Budgets: the error scale, and the grade that each precision must reach."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from export.common.interface import HALVES, PRECISIONS
from export.parity.budgets import GRADES, WITHIN_ROUNDING, Grade, budget_for, status_of
from export.parity.comparison import (
    P99_COUNT,
    SIMULATION_SHARE,
    best_grade,
    compare_joints,
    fp32_factor,
    simulation_is_within,
    summarize_errors,
)
from export.runtime.pose import Volume
from tests.support.checkpoints import TINY

VOLUME = Volume.from_architecture(TINY)
"""One bin along x is 62.5 mm."""
TRUTH = np.random.default_rng(0).uniform(0, 31, (10, 18, 3))


def shifted(mm: float) -> Any:
    """All joints of ``TRUTH``, moved along x."""
    return TRUTH + np.array([mm / 62.5, 0, 0])


@pytest.mark.parametrize("statistic", ["mean_mm", "p99_mm", "max_mm"])
def test_every_limit_of_a_grade_is_checked(statistic: str) -> None:
    grade = replace(Grade("tight"), **{statistic: 1.0})  # type: ignore[arg-type]
    errors = {"mean_mm": 0.5, "p99_mm": 0.5, "max_mm": 0.5}
    assert grade.holds(**errors)
    for value in (1.5, np.nan):
        assert not grade.holds(**(errors | {statistic: value}))


def test_the_scale_is_ordered_and_a_tail_alone_lowers_the_grade() -> None:
    truth = np.random.default_rng(0).uniform(0, 31, (50, 18, 3))
    exact, moved = summarize_errors(truth, truth, VOLUME), np.zeros_like(truth)
    for shift_mm, grade in ((0.05, "exact"), (0.9, "near"), (4.0, "usable"), (6.0, "unusable")):
        moved[..., 0] = shift_mm / 62.5
        assert best_grade(summarize_errors(truth, truth + moved, VOLUME), exact) == grade
    moved[..., 0] = np.where(np.arange(900).reshape(50, 18) % 50 == 0, 30, 0.1) / 62.5  # mean 0.7 mm, p99 30 mm
    error = summarize_errors(truth, truth + moved, VOLUME)
    assert (error.mean_mm < 1, best_grade(error, exact)) == (True, "unusable")
    assert compare_joints(truth, truth, truth + moved, VOLUME, budget_for("int8", trained=True)).outcome == "fail"
    assert list(GRADES) == ["exact", "near", "usable"]


@pytest.mark.parametrize(("bins", "within"), [(0.84, True), (0.86, False), (np.nan, False)])
def test_a_simulation_leaves_room_for_differences_between_runtimes(bins: float, within: bool) -> None:
    for grade in (Grade("tight", mean_mm=62.5, p99_mm=1e9), Grade("tight", mean_mm=1e9, p99_mm=62.5)):
        assert simulation_is_within(TRUTH, shifted(62.5 * bins), VOLUME, grade, SIMULATION_SHARE) == within


@pytest.mark.parametrize(("images", "factor", "outcome"), [(36, 4, "pass"), (37, 4, "fail"), (37, 2.9, "pass")])
def test_p99s_are_compared_only_for_enough_errors(images: int, factor: float, outcome: str) -> None:
    """The largest fiftieth of the errors grows, which changes the mean by at most 4 %."""
    truth = np.random.default_rng(0).uniform(0, 31, (images, 18, 3))
    noise = np.full(truth.shape, 2e-4)
    tail = noise * np.where(np.arange(images * 18).reshape(images, 18, 1) % 50 == 0, factor, 1)
    assert (truth[..., 0].size >= P99_COUNT) == (images == 37)
    parity = compare_joints(truth, truth, truth + tail, VOLUME, budget_for("fp16", trained=True), truth + noise)
    assert (parity.outcome, "p99" in parity.reason) == (outcome, outcome == "fail")


@pytest.mark.parametrize("precision", HALVES)
def test_a_half_precision_has_a_budget_only_for_trained_weights(precision: str) -> None:
    simulation = TRUTH + np.random.default_rng(1).normal(0, 0.06, TRUTH.shape)  # rounding alone costs 6 mm
    trained, random = (budget_for(precision, trained=trained) for trained in (True, False))
    assert (trained.grade, random.grade) == ({"fp16": "near", "bf16": "usable"}[precision], None)
    assert compare_joints(TRUTH, TRUTH, simulation, VOLUME, trained, simulation).outcome == "fail"
    assert compare_joints(TRUTH, TRUTH, simulation, VOLUME, random, simulation).outcome == "pass"
    far = TRUTH + 1.6 * (simulation - TRUTH)
    assert compare_joints(TRUTH, TRUTH, far, VOLUME, random, simulation).outcome == "fail"


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize(
    ("trained", "error_mm", "outcome"),
    [(True, 0.334, "pass"), (True, 6.0, "fail"), (False, 0.334, "pass"), (False, 6.0, "fail")],
)
def test_a_processor_may_sum_in_fp16(precision: str, trained: bool, error_mm: float, outcome: str) -> None:
    """An FP16 file had an error of 0.334 mm in ONNX Runtime on aarch64, and of 0.077 mm simulated."""
    budget, candidate, simulation = budget_for(precision, trained=trained), shifted(error_mm), shifted(0.077)
    assert compare_joints(TRUTH, TRUTH, candidate, VOLUME, budget, simulation).outcome == "fail"
    parity = compare_joints(TRUTH, TRUTH, candidate, VOLUME, budget, simulation, sums_in_fp32=False)
    assert parity.outcome == outcome, parity.reason


@pytest.mark.parametrize(("times", "outcome"), [(3.9, "pass"), (6.8, "pass"), (11, "fail")])
@pytest.mark.parametrize("reference_mm", [0.05, 0.2])
def test_a_processor_may_sum_fp32_in_another_order(reference_mm: float, times: float, outcome: str) -> None:
    """On a 64³ volume, aarch64 had 3.9 times the mean error of the FP32 reference, and 6.8 its largest."""
    fp32, candidate, budget = shifted(reference_mm), shifted(times * reference_mm), budget_for("fp32", trained=True)
    for machine, expected in {"x86_64": "fail", "AMD64": "fail", "aarch64": outcome, "": outcome}.items():
        factor = fp32_factor(machine)
        parity = compare_joints(TRUTH, fp32, candidate, VOLUME, budget, sums_in_fp32=False, factor_to_fp32=factor)
        assert (parity.outcome, parity.grade == "exact") == (expected, expected == "pass"), machine


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize(("grade", "outcome"), [("usable", "pass"), ("near", "fail"), ("exact", "fail")])
def test_the_required_grade_applies_to_every_precision(precision: str, grade: str, outcome: str) -> None:
    moved = shifted(2)
    budget = budget_for(precision, trained=True, require=grade)
    assert compare_joints(TRUTH, TRUTH, moved, VOLUME, budget, moved).outcome == outcome
    assert budget_for("fp32", trained=True, require=grade) == budget_for("fp32", trained=True)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_without_a_limit_in_mm_no_status_is_pass(precision: str) -> None:
    """An error of 1.14 m is within rounding if the simulation has it as well."""
    far = TRUTH + 10
    trained, random = (budget_for(precision, trained=trained) for trained in (True, False))
    assert {status_of(outcome, trained) for outcome in ("pass", "fail")} == {"pass", "fail"}
    expected = "fail" if precision == "fp32" else WITHIN_ROUNDING
    assert status_of(compare_joints(TRUTH, TRUTH, far, VOLUME, random, far).outcome, random) == expected
    assert "pass" not in expected
    assert status_of("fail", random) == "fail"
