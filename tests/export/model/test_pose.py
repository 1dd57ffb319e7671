"""Pose arithmetic: inverses, known values, and crops."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import export.runtime.pose
from export.common.errors import BadInput
from export.model.camera import Camera
from export.model.joint_sets import HUMAN36M
from export.runtime.pose import (
    MEAN,
    STD,
    Volume,
    crop,
    crop_box,
    crop_to_image,
    crop_with_numpy,
    image_to_crop,
    normalise,
)

VOLUMES = (Volume(32, 32, 256), Volume(64, 64, 256), Volume(32, 64, 256))
SIZE = 256
volumes = st.sampled_from(VOLUMES)
seeds = st.integers(0, 2**32 - 1)


def joints(volume: Volume, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    high = (volume.heatmap_size, volume.heatmap_size, volume.depth_dim)
    return np.random.default_rng(seed).uniform(0, high, (3, 18, 3))


@given(volumes, seeds)
def test_bins_to_pixels_and_mm_and_back(volume: Volume, seed: int) -> None:
    bins = joints(volume, seed)
    again = volume.to_bins(volume.crop_pixels(bins), volume.relative_depth_mm(bins))
    np.testing.assert_allclose(again, bins, atol=1e-9)


def test_the_depth_is_that_of_a_cube_of_two_metres_centred_on_the_root() -> None:
    volume = Volume(64, 32, 256)
    depth = volume.relative_depth_mm(np.array([[0, 0, 0], [0, 0, 16], [0, 0, 32]], np.float64))
    np.testing.assert_allclose(depth, [-1000, 0, 1000])
    np.testing.assert_allclose(volume.bin_mm, [31.25, 31.25, 62.5])
    np.testing.assert_allclose(volume.crop_pixels(np.array([32.0, 16.0, 0.0])), [128, 64])


def test_mirroring_exchanges_left_and_right() -> None:
    bins = np.zeros((18, 3))
    left, right = HUMAN36M.joints.index("L_Wrist"), HUMAN36M.joints.index("R_Wrist")
    bins[left] = (5, 7, 9)
    turned = VOLUMES[0].mirrored(bins, HUMAN36M.mirror_pairs)
    np.testing.assert_allclose(turned[right], (26, 7, 9))
    np.testing.assert_allclose(turned[left], (31, 0, 0))
    assert all(HUMAN36M.joints[a][1:] == HUMAN36M.joints[b][1:] for a, b in HUMAN36M.mirror_pairs)


boxes = st.tuples(st.floats(-50, 500), st.floats(-50, 300), st.floats(20, 400), st.floats(20, 400)).filter(
    lambda box: box[0] + box[2] > 0 and box[1] + box[3] > 0
)


@given(boxes, seeds)
def test_crop_and_inverse_crop(box: tuple[float, float, float, float], seed: int) -> None:
    square = crop_box(box, 640, 480)
    pixels = np.random.default_rng(seed).uniform(-100, 700, (4, 2))
    np.testing.assert_allclose(crop_to_image(image_to_crop(pixels, square, SIZE), square, SIZE), pixels, atol=1e-6)


@given(boxes)
def test_the_crop_is_square_larger_than_the_person_and_centred_on_what_is_visible(
    box: tuple[float, float, float, float],
) -> None:
    x, y, width, height = crop_box(box, 640, 480)
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(639.0, left + box[2] - 1), min(479.0, top + box[3] - 1)
    assert width == pytest.approx(height)
    assert width == pytest.approx(1.25 * max(right - left, bottom - top))
    assert (x + width / 2, y + height / 2) == pytest.approx(((left + right) / 2, (top + bottom) / 2))


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 10), (0, 0, 10, -1), (700, 10, 50, 50), (10, 480, 50, 50), (5, 5, float("nan"), 10)], ids=str
)
def test_a_box_without_area_in_the_image_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(BadInput, match="no area inside the image"):
        crop_box(box, 640, 480)


def test_a_crop_shows_what_its_map_says() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:140, 300:340] = (255, 128, 0)
    box = crop_box((280, 80, 81, 81), 640, 480)
    cropped = crop(image, box, SIZE)
    inside, outside = image_to_crop(np.array([[320.0, 120.0], [295.0, 120.0]]), box, SIZE).round().astype(int)
    assert tuple(cropped[inside[1], inside[0]]) == (255, 128, 0)
    assert tuple(cropped[outside[1], outside[0]]) == (0, 0, 0)


def test_a_crop_that_leaves_the_image_is_black_there() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    cropped = crop(image, crop_box((0, 0, 100, 100), 100, 100), SIZE)
    assert cropped[0].max() == 0
    assert cropped[SIZE // 2, SIZE // 2].min() == 200


def test_a_known_camera() -> None:
    camera = Camera(1000.0, 500.0, 320.0, 240.0)
    np.testing.assert_allclose(camera.project(np.array([100.0, 200.0, 2000.0])), [370, 290])
    np.testing.assert_allclose(camera.back_project(np.array([370.0, 290.0]), np.array(2000.0)), [100, 200, 2000])


def test_pixels_are_not_divided_by_255() -> None:
    image = np.full((1, 2, 2, 3), 255, np.uint8)
    image[0, 0, 0] = 0
    tensor = normalise(image)
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor[0, :, 1, 1], (255 - np.array(MEAN)) / STD, rtol=1e-6)
    np.testing.assert_allclose(tensor[0, :, 0, 0], -np.array(MEAN) / STD, rtol=1e-6)
    assert tensor.max() > 1000


def test_normalising_writes_to_memory_that_is_given() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    out = np.empty((3, 3, 16, 16), np.float32)
    assert normalise(images, out) is out
    np.testing.assert_array_equal(out, normalise(images))


@given(st.tuples(st.floats(-80, 500), st.floats(-80, 400), st.floats(0.5, 700)), seeds, st.booleans())
def test_crops_without_opencv_agree_with_it(box: tuple[float, float, float], seed: int, smooth: bool) -> None:
    """Within one grey level, which a rounding costs; black outside of the image, on every side."""
    image = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    if smooth:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 3), np.uint8)
    x, y, edge = box
    place = (x / 4, y / 4, edge, edge)
    expected, found = crop(image, place, 64), crop_with_numpy(image, place, 64)
    assert found.dtype == np.uint8
    difference = np.abs(expected.astype(int) - found)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.02


def test_opencv_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    place, out = (3.3, -4.4, 40.5, 40.5), np.full((64, 64, 3), 7, np.uint8)
    with_opencv = crop(image, place, 64)
    assert crop(image, place, 64, out) is out
    np.testing.assert_array_equal(out, with_opencv)
    monkeypatch.setattr(export.runtime.pose, "opencv", lambda: None)
    np.testing.assert_array_equal(crop(image, place, 64), crop_with_numpy(image, place, 64))


@given(volumes, seeds)
def test_millimetres_of_the_cube_have_the_depth(volume: Volume, seed: int) -> None:
    bins = joints(volume, seed)
    np.testing.assert_allclose(volume.joints_mm(bins)[..., 2], volume.relative_depth_mm(bins), atol=1e-9)
