"""A plan near a limit is tried as a file: runtimes differ from the simulation, and one bad joint decides a p99."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import export.parity.sessions
from export.model.reference import run_reference
from export.parity.budgets import Grade
from export.parity.comparison import ErrorSummary, summarize_errors
from export.pipeline.plan_trials import ParityImages, PlanTrials
from export.plan.precision_plan import PrecisionPlan
from export.runtime.pose import Volume
from tests.support.drawings import drawn_images
from tests.support.tiny_int8 import tiny_network, tiny_plan, tiny_weights

PRECISION = "fp16"


@cache
def parity() -> ParityImages:
    network = tiny_network()
    images = drawn_images(4, network.architecture.input_size, 3)
    return ParityImages(images, run_reference(network, images, 4), known=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trial.onnx"


@pytest.fixture
def trials(file: Path) -> PlanTrials:
    return PlanTrials(tiny_network(), parity(), file, lambda *_: None)


def simulated_error(trials: PlanTrials, plan: PrecisionPlan) -> ErrorSummary:
    volume = Volume.from_architecture(tiny_network().architecture)
    return summarize_errors(parity().truth, trials.simulate(plan, tiny_weights(plan)), volume)


def limit(trials: PlanTrials, plan: PrecisionPlan, share: float) -> Grade:
    """Return a grade of which the plan's simulation uses this share."""
    return Grade("usable", simulated_error(trials, plan).mean_mm / share, 1e9)


@pytest.mark.parametrize(
    ("share", "shift_bins", "tried", "holds"),
    [
        (0.54, 1.0, False, True),
        (0.86, 0.0, False, False),
        (0.56, 0.0, True, True),
        (0.84, 0.0, True, True),
        (0.56, 1.0, True, False),
    ],
)
def test_only_between_sure_and_hopeless_does_the_file_decide(
    trials: PlanTrials,
    file: Path,
    share: float,
    shift_bins: float,
    tried: bool,
    holds: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runtime that is off by a bin is planted."""
    run = export.parity.sessions.run_batches
    monkeypatch.setattr(export.parity.sessions, "run_batches", lambda *args: run(*args) + shift_bins)
    plan = tiny_plan(PRECISION)
    assert trials.holds(plan, tiny_weights(plan), limit(trials, plan, share)) == holds
    assert file.is_file() == tried


@pytest.mark.parametrize("wrong_batch", [1, 5, None])
def test_one_bad_joint_at_one_batch_size_exceeds_a_p99(
    trials: PlanTrials, wrong_batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = export.parity.sessions.run_batches

    def spoiled(session: Any, images: Any, batch: int) -> Any:
        joints = run(session, images, batch)
        joints[0, 0] += 100.0 * (batch == wrong_batch)
        return joints

    monkeypatch.setattr(export.parity.sessions, "run_batches", spoiled)
    plan = tiny_plan(PRECISION)
    grade = Grade("usable", 1e9, simulated_error(trials, plan).p99_mm / 0.7)
    assert trials.holds(plan, tiny_weights(plan), grade) == (wrong_batch is None)


def test_unknown_images_decide_nothing(trials: PlanTrials, file: Path) -> None:
    plan = tiny_plan(PRECISION)
    hopeless = limit(trials, plan, 2.0)
    assert not trials.holds(plan, tiny_weights(plan), hopeless)
    unknown = PlanTrials(tiny_network(), replace(parity(), known=False), file, lambda *_: None)
    assert unknown.holds(plan, tiny_weights(plan), hopeless)


def test_joints_that_are_not_finite_hold_no_grade(trials: PlanTrials, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the simulation nor in the file."""
    plan = tiny_plan(PRECISION)
    near = limit(trials, plan, 0.7)
    nothing = np.full_like(parity().truth, np.nan)
    with monkeypatch.context() as patch:
        patch.setattr(export.parity.sessions, "run_batches", lambda *_: nothing)
        assert not trials.holds(plan, tiny_weights(plan), near)
    assert trials.holds(plan, tiny_weights(plan), near)
    monkeypatch.setattr(trials, "simulate", lambda *_: nothing)
    assert not trials.holds(plan, tiny_weights(plan), Grade("usable", 1e9, 1e9))
