"""Drawn figures: people of sticks and discs whose joints are known to the last digit.

They stand in for photographs where none may be shipped: to train the demo checkpoint, to calibrate, to
evaluate. Every joint has a colour of its own, warm on the person's right, cool on the left; what is nearer
is brighter and larger. A figure depends on its seed and index alone.

Colours say which side a limb belongs to, so a mirrored image shows a figure that cannot exist: averaging
over mirrored images, as is done with photographs, makes sense for no network that was trained on these.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.images.painting import paint
from export.images.skeleton import Array, random_joints
from export.model.pose import Box, Camera, Volume, enlarged, image_to_crop, locate

TRAIN_SEED = 1_906
"""Figures that the demo checkpoint has seen; the seeds below are for figures that it has not."""
EVALUATION_SEED = 2_023
"""Figures on which accuracy is measured."""
CALIBRATION_SEED = 2_025
"""Figures from which the ranges of quantised networks are taken."""
PARITY_SEED = 1_019
"""Figures on which exported networks are compared with the truth."""
GROWTH_SEED = 2_016
"""Figures that networks grown from the demo checkpoint are fitted to."""

CROP_SIZE = 256
IMAGE_SIZE = 1000
FIGURE_MARGIN_MM = 60.0
"""From a joint to the figure's outline; the person's box goes around the outline."""
FOCAL_PX = (1050.0, 1250.0)
PRINCIPAL_PX = (480.0, 520.0)
"""Both coordinates; Human3.6M's cameras are like that."""
ROOT_DEPTH_MM = (2600.0, 5200.0)
ROOT_OFFSET_MM = 250.0


@dataclass(frozen=True, eq=False)
class Figure:
    """One drawn figure, cut out as the released code cuts people out, and everything that is true of it."""

    image: NDArray[np.uint8]
    """(256, 256, 3) RGB crop."""
    joints_mm: Array
    """(18, 3) in the camera's axes (x right, y down, z away), relative to the pelvis."""
    joints_px: Array
    """(18, 2) x, y in pixels of the crop."""
    root_mm: Array
    """(3,) the pelvis in the camera's coordinates."""
    camera: Camera
    """That took the image from which the crop was cut."""
    box: Box
    """x, y, width, height of the crop in that image: square, already enlarged."""

    @property
    def root_depth_mm(self) -> float:
        """Distance of the pelvis from the camera along its axis."""
        return float(self.root_mm[2])

    def joints_bins(self, heatmap_size: int, depth_dim: int) -> Array:
        """(18, 3) x, y, z in bins: what a network with this volume should say of the image."""
        return Volume(heatmap_size, depth_dim, CROP_SIZE).to_bins(self.joints_px, self.joints_mm[:, 2])

    def located_mm(self, bins: Array, heatmap_size: int, depth_dim: int) -> Array:
        """(18, 3) mm relative to the pelvis: where a network's joints (18, 3) in bins lie.

        The crop's place, the camera and the pelvis' depth are taken from the figure, as the released
        evaluation takes them from its annotations.
        """
        volume = Volume(heatmap_size, depth_dim, CROP_SIZE)
        joints = locate(bins, volume, self.box, self.camera, self.root_depth_mm)
        relative: Array = joints - joints[0]
        return relative


@dataclass(frozen=True, eq=False)
class Scene:
    """The figure of the same seed and index as a camera would take it, before it is cut out."""

    image: NDArray[np.uint8]
    """(1000, 1000, 3) RGB; limbs may reach over its edge."""
    person_box: Box
    """x, y, width, height of the figure's outline in pixels, neither clipped nor enlarged."""
    joints_px: Array
    """(18, 2) x, y in pixels of the image."""
    joints_mm: Array
    """(18, 3) in the camera's coordinates."""
    camera: Camera


@dataclass(frozen=True, eq=False)
class _Subject:
    """A body before a camera."""

    joints_mm: Array
    root_mm: Array
    camera: Camera

    @property
    def image_px(self) -> Array:
        return self.camera.project(self.joints_mm + self.root_mm)

    @property
    def px_per_mm(self) -> Array:
        """(18,) how large a millimetre is at each joint, in the camera's image."""
        scale: Array = self.camera.fx / (self.joints_mm + self.root_mm)[:, 2]
        return scale


def draw_figures(count: int, seed: int, first: int = 0) -> list[Figure]:
    """``count`` figures from number ``first`` on; a figure does not depend on how many are drawn."""
    return [draw_figure(seed, index) for index in range(first, first + count)]


def draw_figure(seed: int, index: int) -> Figure:
    """Figure number ``index`` of those that belong to ``seed``."""
    rng = np.random.default_rng((seed, index))
    subject = _random_subject(rng)
    box = enlarged(outline_box(subject.image_px, FIGURE_MARGIN_MM * subject.px_per_mm))
    scale = CROP_SIZE / box[2]
    joints_px = image_to_crop(subject.image_px, box, CROP_SIZE)
    image = paint(rng, CROP_SIZE, joints_px, subject.joints_mm[:, 2], subject.px_per_mm * scale)
    return Figure(
        image=image,
        joints_mm=subject.joints_mm,
        joints_px=joints_px,
        root_mm=subject.root_mm,
        camera=subject.camera,
        box=box,
    )


def draw_scene(seed: int, index: int) -> Scene:
    """What the camera saw of ``draw_figure(seed, index)``, on another ground."""
    rng = np.random.default_rng((seed, index))
    subject = _random_subject(rng)
    image = paint(rng, IMAGE_SIZE, subject.image_px, subject.joints_mm[:, 2], subject.px_per_mm)
    person_box = outline_box(subject.image_px, FIGURE_MARGIN_MM * subject.px_per_mm)
    return Scene(image, person_box, subject.image_px, subject.joints_mm + subject.root_mm, subject.camera)


def _random_subject(rng: np.random.Generator) -> _Subject:
    joints_mm = random_joints(rng)
    depth = np.exp(rng.uniform(*np.log(ROOT_DEPTH_MM)))
    root_mm = np.array([*rng.uniform(-ROOT_OFFSET_MM, ROOT_OFFSET_MM, 2), depth])
    focal = rng.uniform(*FOCAL_PX)
    return _Subject(joints_mm, root_mm, Camera(focal, focal, *rng.uniform(*PRINCIPAL_PX, 2)))


def outline_box(image_px: Array, margins_px: Array) -> Box:
    """x, y, width, height: the box around discs of these radii."""
    low = (image_px - margins_px[:, None]).min(axis=0)
    high = (image_px + margins_px[:, None]).max(axis=0)
    x, y, width, height = (float(value) for value in (*low, *(high - low)))
    return x, y, width, height
