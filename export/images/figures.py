"""Drawn figures: people of sticks and discs with exactly known joints.

They replace photographs, which cannot be shipped, for training the demo checkpoint, calibration and evaluation. Every
joint has its own colour, warm on the person's right, cool on the left; nearer parts are brighter and larger. A figure
depends on its seed and index alone.

The colours tell left from right, so a mirrored image shows an impossible figure: flip averaging is meaningless for a
network that was trained on figures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.images.painting import paint
from export.images.skeleton import Array, random_joints
from export.model.camera import Camera
from export.runtime.pose import Box, Volume, enlarged, image_to_crop

TRAIN_SEED = 1_906
"""Training figures of the demo checkpoint; the other seeds are for other figures."""
EVALUATION_SEED = 2_023
"""Figures on which accuracy is measured."""
CALIBRATION_SEED = 2_025
"""Figures for the scales of quantized networks."""
PARITY_SEED = 1_019
"""Figures on which artifacts are compared with the ground truth."""
GROWTH_SEED = 2_016
"""Figures for fitting networks that are grown from the demo checkpoint."""
LIVENESS_SEED = 7
"""Figures for fitting the norms of random weights."""

CROP_SIZE = 256
IMAGE_SIZE = 1000
FIGURE_MARGIN_MM = 60.0
"""Distance from a joint to the figure's outline, which the person's box surrounds."""
FOCAL_PX = (1050.0, 1250.0)
PRINCIPAL_PX = (480.0, 520.0)
"""Range of both coordinates, as for Human3.6M's cameras."""
ROOT_DEPTH_MM = (2600.0, 5200.0)
ROOT_OFFSET_MM = 250.0


@dataclass(frozen=True, eq=False)
class Figure:
    """A drawn figure, cropped as in the released code, with its ground truth."""

    image: NDArray[np.uint8]
    """(256, 256, 3) RGB crop."""
    joints_mm: Array
    """(18, 3) in the camera's axes (x right, y down, z away), relative to the pelvis."""
    joints_px: Array
    """(18, 2) x, y in pixels of the crop."""
    root_mm: Array
    """(3,) of the pelvis in the camera's coordinates."""
    camera: Camera
    """Camera of the image that the crop is from."""
    box: Box
    """x, y, width, height of the crop in that image: square and already enlarged."""

    @property
    def root_depth_mm(self) -> float:
        """Distance of the pelvis from the camera along its axis."""
        return float(self.root_mm[2])

    def joints_bins(self, heatmap_size: int, depth_dim: int) -> Array:
        """Return (18, 3) x, y, z in bins: the correct output of a network with this volume."""
        return Volume(heatmap_size, depth_dim, CROP_SIZE).to_bins(self.joints_px, self.joints_mm[:, 2])


@dataclass(frozen=True, eq=False)
class Scene:
    """The uncropped camera image of the figure with the same seed and index."""

    image: NDArray[np.uint8]
    """(1000, 1000, 3) RGB; limbs may extend beyond its edge."""
    person_box: Box
    """x, y, width, height of the figure's outline in pixels, neither clipped nor enlarged."""
    joints_px: Array
    """(18, 2) x, y in pixels of the image."""
    joints_mm: Array
    """(18, 3) in the camera's coordinates."""
    camera: Camera


@dataclass(frozen=True, eq=False)
class _Person:
    """A body in front of a camera."""

    joints_mm: Array
    root_mm: Array
    camera: Camera

    @property
    def image_px(self) -> Array:
        return self.camera.project(self.joints_mm + self.root_mm)

    @property
    def px_per_mm(self) -> Array:
        """(18,) pixels per millimetre at each joint."""
        return np.asarray(self.camera.fx / (self.joints_mm + self.root_mm)[:, 2])


def draw_figures(count: int, seed: int, first: int = 0) -> list[Figure]:
    """Draw ``count`` figures from index ``first`` on."""
    return [draw_figure(seed, index) for index in range(first, first + count)]


def draw_figure(seed: int, index: int) -> Figure:
    """Draw the figure with this seed and index."""
    rng = np.random.default_rng((seed, index))
    person = _random_person(rng)
    box = enlarged(outline_box(person.image_px, FIGURE_MARGIN_MM * person.px_per_mm))
    scale = CROP_SIZE / box[2]
    joints_px = image_to_crop(person.image_px, box, CROP_SIZE)
    image = paint(rng, CROP_SIZE, joints_px, person.joints_mm[:, 2], person.px_per_mm * scale)
    return Figure(image, person.joints_mm, joints_px, person.root_mm, person.camera, box)


def draw_scene(seed: int, index: int) -> Scene:
    """Draw the camera's image of ``draw_figure(seed, index)``, on another background."""
    rng = np.random.default_rng((seed, index))
    person = _random_person(rng)
    image = paint(rng, IMAGE_SIZE, person.image_px, person.joints_mm[:, 2], person.px_per_mm)
    person_box = outline_box(person.image_px, FIGURE_MARGIN_MM * person.px_per_mm)
    return Scene(image, person_box, person.image_px, person.joints_mm + person.root_mm, person.camera)


def _random_person(rng: np.random.Generator) -> _Person:
    joints_mm = random_joints(rng)
    depth = np.exp(rng.uniform(*np.log(ROOT_DEPTH_MM)))
    root_mm = np.array([*rng.uniform(-ROOT_OFFSET_MM, ROOT_OFFSET_MM, 2), depth])
    focal = rng.uniform(*FOCAL_PX)
    return _Person(joints_mm, root_mm, Camera(focal, focal, *rng.uniform(*PRINCIPAL_PX, 2)))


def outline_box(image_px: Array, margins_px: Array) -> Box:
    """Return x, y, width, height of the box around discs of these radii."""
    low = (image_px - margins_px[:, None]).min(axis=0)
    high = (image_px + margins_px[:, None]).max(axis=0)
    x, y, width, height = (float(value) for value in (*low, *(high - low)))
    return x, y, width, height
