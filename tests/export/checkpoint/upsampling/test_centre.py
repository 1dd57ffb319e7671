"""The point about which poses turn: found exactly where it is known, and honestly uncertain where it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.checkpoint.upsampling.centre import centres, missed_share
from export.checkpoint.upsampling.runs import MIRRORED, TURNED, Motion
from export.model.camera import Array

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


def test_what_is_not_a_number_follows_nothing() -> None:
    before = poses(0)
    before[0, 0, 0] = np.nan
    assert missed_share(before, follow(before, TURNED, np.zeros(2)), TURNED, ()) == float("inf")
