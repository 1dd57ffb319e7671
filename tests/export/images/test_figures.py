"""Drawn figures: their ground truth fits the image, and each depends on seed and index alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.images import figures
from export.images.figures import CROP_SIZE, IMAGE_SIZE, Figure, draw_figure, draw_figures, draw_scene
from export.images.painting import DISC_LIFT_MM, JOINT_COLOURS, brightness
from export.images.skeleton import REACH_MM
from export.model.camera import locate
from export.runtime.pose import Volume, enlarged, image_to_crop

SEED = 4
SEEDS = [value for name, value in vars(figures).items() if name.endswith("_SEED")]

numbers = st.integers(min_value=0, max_value=2**31)


@pytest.fixture(scope="module")
def drawn() -> list[Figure]:
    return draw_figures(50, SEED)


def test_a_figure_depends_on_its_seed_and_index_alone() -> None:
    many, later = draw_figures(3, SEED), draw_figures(1, SEED, first=2)[0]
    for again in (later, draw_figure(SEED, 2)):
        assert np.array_equal(many[2].image, again.image)
        assert np.array_equal(many[2].joints_mm, again.joints_mm)
        assert np.array_equal(many[2].box, again.box)
    assert not np.array_equal(many[1].joints_mm, many[2].joints_mm)


def test_figures_of_different_purposes_are_different() -> None:
    assert len(SEEDS) == len(set(SEEDS)) == 6
    firsts = [draw_figure(seed, 0).joints_mm for seed in SEEDS]
    assert all(not np.allclose(one, other) for i, one in enumerate(firsts) for other in firsts[:i])


def test_joints_lie_inside_the_crop_and_the_volume(drawn: list[Figure]) -> None:
    pixels = np.stack([figure.joints_px for figure in drawn])
    # The person's box is a fifth smaller than the crop.
    assert pixels.min() > 0.1 * CROP_SIZE
    assert pixels.max() < 0.9 * CROP_SIZE
    assert max(np.abs(figure.joints_mm).max() for figure in drawn) < REACH_MM
    bins = np.stack([figure.joints_bins(32, 32) for figure in drawn])
    assert bins.min() > 0
    assert bins.max() < 31


def test_the_camera_sees_the_joints_where_they_are_said_to_be(drawn: list[Figure]) -> None:
    for figure in drawn:
        image_px = figure.camera.project(figure.joints_mm + figure.root_mm)
        assert image_to_crop(image_px, figure.box, CROP_SIZE) == pytest.approx(figure.joints_px, abs=1e-9)


@given(index=numbers, volume=st.sampled_from([(32, 32), (64, 64), (64, 32), (16, 24)]))
@settings(max_examples=25)
def test_bins_lead_back_to_millimetres(index: int, volume: tuple[int, int]) -> None:
    figure = draw_figure(SEED, index)
    bins, depth_mm = figure.joints_bins(*volume), figure.root_depth_mm
    joints_mm = locate(bins, Volume(*volume, CROP_SIZE), figure.box, figure.camera, depth_mm)
    assert joints_mm - joints_mm[0] == pytest.approx(figure.joints_mm, abs=1e-6)


def test_the_nearest_joint_is_seen_where_it_is_said_to_be(drawn: list[Figure]) -> None:
    for figure in drawn:
        j = int(np.argmin(figure.joints_mm[:, 2] - DISC_LIFT_MM))
        x, y = np.rint(figure.joints_px[j]).astype(int)
        expected = JOINT_COLOURS[j] * brightness(figure.joints_mm[j, 2:])
        assert figure.image[y, x] == pytest.approx(expected, abs=30)


def test_a_scene_shows_the_same_figure_before_it_is_cut_out() -> None:
    figure, scene = draw_figure(SEED, 1), draw_scene(SEED, 1)
    assert scene.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert enlarged(scene.person_box) == pytest.approx(figure.box)
    assert image_to_crop(scene.joints_px, figure.box, CROP_SIZE) == pytest.approx(figure.joints_px)
    j = int(np.argmin(figure.joints_mm[:, 2]))
    x, y = np.rint(scene.joints_px[j]).astype(int)
    in_crop_x, in_crop_y = np.rint(figure.joints_px[j]).astype(int)
    assert scene.image[y, x] == pytest.approx(figure.image[in_crop_y, in_crop_x], abs=30)
