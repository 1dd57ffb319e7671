"""The images from which a quantised network takes its ranges, and what is refused as such."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import BadInput
from export.photo import SUFFIXES, read_photo
from export.pose import crop, enlarged

NEEDED_IMAGES = 32
"""Fewer show too few of the values that will occur."""
MOST_IMAGES = 256
"""More change the ranges by less than they cost."""
DRAWN_IMAGES = 64
FLAT_BELOW = 4.0
"""Standard deviation of an image's pixels, of 255; a wall, a lens cap or a scaled image lies below."""
UNREADABLE_SHARE = 0.05
"""Above it something is wrong with the folder, and a guess at what is left would not be honest."""

Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Crops, and what a result says of them."""

    images: Images
    """(N, S, S, 3) RGB."""
    source: str
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the pixels, in order."""
        return hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Where the images came from, how many they are, and their hash."""
        return {"source": self.source, "count": len(self.images), "sha256": self.sha256, "notes": list(self.notes)}


def drawn_calibration(size: int) -> CalibrationSet:
    """Drawn figures of the calibration's own seed, which neither training, evaluation nor parity uses."""
    from export.figures import CALIBRATION_SEED, CROP_SIZE, draw_figures

    if size == CROP_SIZE:
        images = np.stack([figure.image for figure in draw_figures(DRAWN_IMAGES, CALIBRATION_SEED)])
        return CalibrationSet(images, f"drawn figures, seed {CALIBRATION_SEED}")
    from export.drawings import drawn_images

    return CalibrationSet(drawn_images(DRAWN_IMAGES, size, CALIBRATION_SEED), f"drawn shapes, seed {CALIBRATION_SEED}")


def folder_calibration(folder: Path, size: int) -> CalibrationSet:
    """Crops of people from a folder: square images are taken as crops, others are cut as a person's box would be.

    Raises:
        BadInput: too few distinct images, too many unreadable ones, or images without content.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder of images", "a file" if folder.exists() else "nothing there", _DO)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    chosen = (
        [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, MOST_IMAGES).round().astype(int))] if paths else []
    )
    images, unreadable = [], []
    for path in chosen:
        try:
            images.append(_as_crop(read_photo(path).image, size))
        except BadInput:
            unreadable.append(path.name)
    if len(unreadable) > UNREADABLE_SHARE * max(1, len(chosen)):
        seen = f"{len(unreadable)} of {len(chosen)}: {', '.join(unreadable[:5])}"
        raise BadInput(f"too many files in {folder} cannot be read as images", seen, _DO)
    notes = [f"{len(unreadable)} files cannot be read: {', '.join(unreadable[:5])}"] if unreadable else []
    if len(chosen) < len(paths):
        notes.append(f"{len(chosen)} of {len(paths)} images, evenly chosen")
    stacked = np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
    found = CalibrationSet(stacked, f"folder {folder.name}", tuple(notes))
    require_usable(found)
    return found


def require_usable(calibration: CalibrationSet) -> None:
    """See that there are enough distinct images, with something on them.

    Raises:
        BadInput: there are not.
    """
    images = calibration.images
    distinct = len({image.tobytes() for image in images})
    if distinct < NEEDED_IMAGES:
        raise BadInput(f"calibration needs {NEEDED_IMAGES} distinct images", f"{distinct} in {calibration.source}", _DO)
    flat = sum(not float(image.std()) >= FLAT_BELOW for image in images)
    if flat > UNREADABLE_SHARE * len(images):
        seen = f"{flat} of {len(images)} in {calibration.source} are flat (spread below {FLAT_BELOW:g} of 255)"
        raise BadInput("calibration images show nothing", seen, _DO)


_DO = "name a folder of crops of people with --calibration, or leave it out to use drawn figures"


def _as_crop(image: Images, size: int) -> Images:
    height, width = image.shape[:2]
    box = (0.0, 0.0, float(width), float(height)) if height == width else enlarged((0, 0, width, height))
    return crop(image, box, size)
