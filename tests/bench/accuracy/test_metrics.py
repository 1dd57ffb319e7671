"""Distances and the rigid alignment: what it removes, and what it must not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bench.accuracy.tally import joint_errors, rigidly_aligned

SEEDS = st.integers(0, 2**32 - 1)
ALL = np.ones(17, bool)


def test_errors_are_euclidean() -> None:
    assert joint_errors(np.array([[3.0, 4, 0], [0, 0, 0]]), np.zeros((2, 3))).tolist() == [5, 0]


@given(SEEDS)
def test_rotation_and_translation_are_removed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 400, (17, 3))
    moved = Rotation.random(rng=rng).apply(truth) + rng.normal(0, 3000, 3)
    np.testing.assert_allclose(rigidly_aligned(moved, truth, ALL), truth, atol=1e-6)


@given(SEEDS, st.floats(1.1, 3))
def test_scale_is_not_removed(seed: int, scale: float) -> None:
    truth = np.random.default_rng(seed).normal(0, 400, (17, 3))
    aligned = rigidly_aligned(truth * scale, truth, ALL)
    np.testing.assert_allclose(aligned - truth.mean(axis=0), (truth - truth.mean(axis=0)) * scale, atol=1e-6)


@given(SEEDS)
def test_a_mirrored_pose_stays_mirrored(seed: int) -> None:
    truth = np.random.default_rng(seed).normal(0, 400, (17, 3))
    assert joint_errors(rigidly_aligned(truth * (-1, 1, 1), truth, ALL), truth).mean() > 20


def test_joints_that_do_not_count_do_not_pull() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 400, (17, 3))
    predicted = Rotation.random(rng=rng).apply(truth) + 100
    predicted[4] += 5000
    counted = ALL.copy()
    counted[4] = False
    aligned = rigidly_aligned(predicted, truth, counted)
    np.testing.assert_allclose(aligned[counted], truth[counted], atol=1e-6)


def test_nothing_is_aligned_by_two_joints_or_by_nan() -> None:
    truth = np.random.default_rng(0).normal(0, 400, (17, 3))
    two = np.zeros(17, bool)
    two[:2] = True
    assert np.isnan(rigidly_aligned(truth, truth, two)).all()
    broken = truth.copy()
    broken[3, 0] = np.nan
    assert np.isnan(rigidly_aligned(broken, truth, ALL)).all()
