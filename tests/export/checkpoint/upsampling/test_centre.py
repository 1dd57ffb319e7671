"""The point about which poses turn: found exactly where it is known, and honestly uncertain where it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.checkpoint.upsampling.centre import centres, missed_share, pooled_offset
from export.checkpoint.upsampling.motions import MIRRORED, TURNED, Motion, move
from export.model.pose import Array

PAIRS = ((0, 1), (2, 3))
MOTIONS = {"turned": TURNED, "mirrored": MIRRORED}


def poses(seed: int, images: int = 5) -> Array:
    """(N, 6, 2) pixels, anywhere in the crop."""
    return np.random.default_rng(seed).uniform(20, 236, (images, 6, 2))


def follow(before: Array, motion: Motion, centre: Array) -> Array:
    """What a network says of the moved crops whose poses turn about ``centre``."""
    return np.stack([(before - centre) @ matrix.T + centre for matrix in motion.matrices])


@pytest.mark.parametrize("name", MOTIONS)
@given(seed=st.integers(0, 10_000), x=st.floats(0, 255), y=st.floats(0, 255))
@settings(max_examples=15)
def test_the_centre_is_where_it_was_put(name: str, seed: int, x: float, y: float) -> None:
    motion, centre, before = MOTIONS[name], np.array([x, y]), poses(seed)
    after = follow(before, motion, centre)
    found = centres(before, after, motion) - centre[list(motion.axes)][:, None]
    assert np.abs(found).max() < 1e-6
    assert missed_share(before, after, motion, ()) < 1e-6


@pytest.mark.parametrize("name", MOTIONS)
def test_exchanged_sides_are_read_as_such_only_where_the_motion_exchanges_them(name: str) -> None:
    motion, before = MOTIONS[name], poses(0)
    after = follow(before, motion, np.full(2, 127.5))
    swapped = after[:, :, [1, 0, 3, 2, 4, 5]]
    assert centres(before, swapped, motion) == pytest.approx(centres(before, after, motion))
    assert (missed_share(before, swapped, motion, PAIRS) < 1e-6) is motion.swaps_sides
    assert missed_share(before, swapped, motion, ()) > 0.3


@pytest.mark.parametrize("name", MOTIONS)
def test_joints_that_stay_miss_all_of_the_way(name: str) -> None:
    motion, before = MOTIONS[name], poses(0)
    after = np.stack([before] * len(motion.matrices))
    assert missed_share(before, after, motion, ()) == pytest.approx(1, abs=1e-6)


def test_one_symmetric_pose_for_all_images_is_no_following() -> None:
    pose = np.array([[100, 50], [155, 50], [80, 90], [175, 90], [127.5, 30], [127.5, 200]])
    before = np.stack([pose] * 5)
    assert missed_share(before, before[None], MIRRORED, PAIRS) >= 1


def test_what_is_not_a_number_follows_nothing() -> None:
    before = poses(0)
    before[0, 0, 0] = np.nan
    assert missed_share(before, follow(before, TURNED, np.zeros(2)), TURNED, ()) == float("inf")


@pytest.mark.parametrize("matrix", [*TURNED.matrices, *MIRRORED.matrices])
def test_pixels_are_moved_as_joints_are(matrix: Array) -> None:
    at = np.array([170.0, 60.0])
    y, x = np.mgrid[0:256, 0:256]
    blob = 200 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 50)
    image = move(np.repeat(blob[None, :, :, None], 3, axis=3).astype(np.uint8), matrix)[0, :, :, 0].astype(float)
    seen = np.array([(image * x).sum(), (image * y).sum()]) / image.sum()
    assert seen == pytest.approx(matrix @ (at - 127.5) + 127.5, abs=0.05)


def test_a_mirrored_crop_is_mirrored_to_the_pixel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert np.array_equal(move(images, MIRRORED.matrices[0]), images[:, :, ::-1])


@pytest.mark.parametrize("images", [8, 16, 32])
def test_the_interval_holds_what_it_promises(images: int) -> None:
    rng = np.random.default_rng(images)
    spread = np.array([0.7, 1.5, 1.6])[:, None]
    found = [pooled_offset(0.4 + spread * rng.standard_normal((3, images))) for _ in range(2000)]
    covered = np.mean([abs(offset.px - 0.4) <= offset.uncertainty_px for offset in found])
    assert covered == pytest.approx(0.95, abs=0.03)


def test_the_less_certain_kind_counts_less_and_disagreement_widens() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, 200))
    agreeing = pooled_offset(noise * [[0.1], [1.0]])
    assert abs(agreeing.px) < 0.05
    disagreeing = pooled_offset(noise + np.array([[-1.0], [1.0]]))
    assert disagreeing.uncertainty_px > 5 * pooled_offset(noise).uncertainty_px
    assert pooled_offset(np.full((3, 8), 1.0)).px == 1
