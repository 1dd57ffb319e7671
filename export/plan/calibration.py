"""The images from which a quantised network takes its ranges, and what is refused as such."""

from pathlib import Path

from export.common.errors import BadInput
from export.images.figures import CALIBRATION_SEED
from export.images.image_set import ImageSet, drawn_set, folder_set

NEEDED_IMAGES = 32
"""Fewer show too few of the values that will occur."""
MOST_IMAGES = 256
"""More change the ranges by less than they cost."""
DRAWN_IMAGES = 64
FLAT_BELOW = 4.0
"""Standard deviation of an image's pixels, of 255; a wall, a lens cap or a scaled image lies below."""
FLAT_SHARE = 0.05
"""Above it the folder holds something else than crops of people."""


def drawn_calibration(size: int) -> ImageSet:
    """Drawn figures of the calibration's own seed, which neither training, evaluation nor parity uses."""
    return drawn_set(size, DRAWN_IMAGES, CALIBRATION_SEED)


def folder_calibration(folder: Path, size: int) -> ImageSet:
    """Crops of people from a folder.

    Raises:
        BadInput: too few distinct images, too many unreadable ones, or images without content.
    """
    found = folder_set(folder, size, NEEDED_IMAGES, MOST_IMAGES)
    require_usable(found)
    return found


def require_usable(calibration: ImageSet) -> None:
    """See that there are enough distinct images, with something on them.

    Raises:
        BadInput: there are not.
    """
    do = "name a folder of crops of people with --calibration, or leave it out to use drawn figures"
    images = calibration.images
    if (distinct := calibration.distinct) < NEEDED_IMAGES:
        raise BadInput(f"calibration needs {NEEDED_IMAGES} distinct images", f"{distinct} in {calibration.source}", do)
    # Over places, channel by channel: one colour all over is flat, however far its channels lie apart.
    flat = sum(not float(image.std(axis=(0, 1)).max()) >= FLAT_BELOW for image in images)
    if flat > FLAT_SHARE * len(images):
        seen = f"{flat} of {len(images)} in {calibration.source} are flat (spread below {FLAT_BELOW:g} of 255)"
        raise BadInput("calibration images show nothing", seen, do)
