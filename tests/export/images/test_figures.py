"""Drawn figures: their ground truth fits the image, and each depends on seed and index alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.images import figures
from export.images.drawings import LIVENESS_SEED, SHAPES_SEED
from export.images.figures import CROP_SIZE, IMAGE_SIZE, Figure, draw_figure, draw_figures, draw_scene
from export.images.painting import DISC_LIFT_MM, JOINT_COLOURS, JOINT_RADII_MM, brightness
from export.images.skeleton import LENGTHS_MM, REACH_MM, random_joints
from export.model.joint_sets import HUMAN36M
from export.model.pose import enlarged, image_to_crop

SEED = 4
SEEDS = (figures.TRAIN_SEED, figures.EVALUATION_SEED, figures.CALIBRATION_SEED, figures.PARITY_SEED)
JOINT = {name: j for j, name in enumerate(HUMAN36M.joints)}

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
    assert len({*SEEDS, SHAPES_SEED, LIVENESS_SEED}) == len(SEEDS) + 2
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
    assert figure.located_mm(figure.joints_bins(*volume), *volume) == pytest.approx(figure.joints_mm, abs=1e-6)


@given(seed=numbers)
@settings(max_examples=20)
def test_bodies_are_bodies(seed: int) -> None:
    joints = random_joints(np.random.default_rng(seed))

    def length(start: str, end: str) -> float:
        return float(np.linalg.norm(joints[JOINT[start]] - joints[JOINT[end]]))

    assert not joints[JOINT["Pelvis"]].any()
    for start, end, bone in (("Hip", "Knee", "thigh"), ("Knee", "Ankle", "shin"), ("Elbow", "Wrist", "forearm")):
        left, right = length(f"L_{start}", f"L_{end}"), length(f"R_{start}", f"R_{end}")
        assert left == pytest.approx(right)
        assert 0.8 < left / LENGTHS_MM[bone] < 1.2
    shoulders = joints[[JOINT["L_Shoulder"], JOINT["R_Shoulder"]]]
    assert joints[JOINT["Thorax"]] == pytest.approx(shoulders.mean(axis=0))
    # Upright enough: the head is above the pelvis, and y points down.
    assert joints[JOINT["Head"], 1] < 0


@given(seed=numbers)
@settings(max_examples=20)
def test_knees_bend_backwards_and_elbows_forwards(seed: int) -> None:
    """The person's left, up and forward are a right-handed frame; left is told by the hips."""
    joints = random_joints(np.random.default_rng(seed))
    left = joints[JOINT["L_Hip"]] / np.linalg.norm(joints[JOINT["L_Hip"]])
    for side in ("L", "R"):
        hip, knee, ankle = (joints[JOINT[f"{side}_{part}"]] for part in ("Hip", "Knee", "Ankle"))
        # The axis of a knee that bends the shin backwards is on the person's left, give or take the twist.
        axis = np.cross(knee - hip, ankle - knee)
        if np.linalg.norm(axis) > 1e3:
            assert axis @ left > 0


def test_the_nearest_joint_is_seen_where_it_is_said_to_be(drawn: list[Figure]) -> None:
    for figure in drawn:
        j = int(np.argmin(figure.joints_mm[:, 2] - DISC_LIFT_MM))
        x, y = np.rint(figure.joints_px[j]).astype(int)
        expected = JOINT_COLOURS[j] * brightness(figure.joints_mm[j, 2:])
        assert figure.image[y, x] == pytest.approx(expected, abs=30)


def test_a_disc_is_as_large_as_its_distance_says(drawn: list[Figure]) -> None:
    for figure in drawn:
        j = int(np.argmin(figure.joints_mm[:, 2]))
        depth_mm = figure.root_depth_mm + figure.joints_mm[j, 2]
        radius = JOINT_RADII_MM[j] * figure.camera.fx / depth_mm * CROP_SIZE / figure.box[2]
        x, y = figure.joints_px[j]
        # From the centre upwards: the disc's colour, then the dark ring, which its antialiased edges may brighten.
        column = figure.image[: round(y) + 1, round(x)][::-1].max(axis=1).astype(float)
        inner, outer = int(0.8 * radius), int(np.ceil(1.25 * radius))
        assert column[:inner].min() > 0.8 * column[0]
        assert column[inner : outer + 1].min() < 0.6 * column[0]


def test_a_scene_shows_the_same_figure_before_it_is_cut_out() -> None:
    figure, scene = draw_figure(SEED, 1), draw_scene(SEED, 1)
    assert scene.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert enlarged(scene.person_box) == pytest.approx(figure.box)
    assert image_to_crop(scene.joints_px, figure.box, CROP_SIZE) == pytest.approx(figure.joints_px)
    j = int(np.argmin(figure.joints_mm[:, 2]))
    x, y = np.rint(scene.joints_px[j]).astype(int)
    in_crop_x, in_crop_y = np.rint(figure.joints_px[j]).astype(int)
    assert scene.image[y, x] == pytest.approx(figure.image[in_crop_y, in_crop_x], abs=30)
