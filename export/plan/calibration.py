"""Images for calibration: INT8 ranges and the rounding of weights come from them."""

from pathlib import Path

from export.common.errors import BadInput
from export.images.figures import CALIBRATION_SEED
from export.images.image_set import ImageSet, drawn_set, folder_set

FEWEST_IMAGES = 32
"""Fewer show too few of the values that will occur."""
MOST_IMAGES = 256
"""More change the ranges by less than they cost."""
DRAWN_IMAGES = 64
LEAST_SPREAD = 4.0
"""Smallest standard deviation of an image's pixels, of 255; a wall or a lens cap has less."""
FLAT_SHARE = 0.05
"""Largest share of flat images in a folder of crops of people."""


def drawn_calibration(size: int) -> ImageSet:
    """Return drawn figures of a seed that training, evaluation and parity do not use."""
    return drawn_set(size, DRAWN_IMAGES, CALIBRATION_SEED)


def folder_calibration(folder: Path, size: int) -> ImageSet:
    """Return the crops of people in a folder.

    Raises:
        BadInput: there are too few distinct images, too many unreadable ones, or images that show nothing.
    """
    crops = folder_set(folder, size, FEWEST_IMAGES, MOST_IMAGES)
    advice = "name a folder of crops of people with --calibration, or leave it out to use drawn figures"
    if crops.distinct < FEWEST_IMAGES:
        count = f"{crops.distinct} in {crops.source}"
        raise BadInput(f"calibration needs {FEWEST_IMAGES} distinct images", count, advice)
    # Channel by channel: an image of one colour is flat, even if its channels differ.
    flat = sum(float(image.std(axis=(0, 1)).max()) < LEAST_SPREAD for image in crops.images)
    if flat > FLAT_SHARE * len(crops.images):
        counts = f"{flat} of {len(crops.images)} in {crops.source} are flat (spread below {LEAST_SPREAD:g} of 255)"
        raise BadInput("calibration images show nothing", counts, advice)
    return crops
