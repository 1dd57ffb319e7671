"""Images for parity, apart from those of training, calibration and evaluation.

They should be like the training images. On unknown images a network's volumes have many peaks of nearly the same
height, and rounding moves joints from one to another: the INT8 error of the demo checkpoint is 2 mm on its figures and
9 cm on shapes without a figure.
"""

from pathlib import Path

from export.common.errors import BadInput
from export.images.figures import PARITY_SEED
from export.images.image_set import ImageSet, ImagesRecord, drawn_set, folder_set

COUNT = 64
MOST_IMAGES = 256


def parity_images(size: int, folder: Path | None = None) -> ImageSet:
    """Return crops of people from ``folder``; without a folder, 64 drawn figures.

    Raises:
        BadInput: the folder has fewer than 64 distinct images, or is unreadable.
    """
    if folder is None:
        return drawn_set(size, COUNT, PARITY_SEED)
    images = folder_set(folder, size, COUNT, MOST_IMAGES)
    if images.distinct < COUNT:
        do = "name a folder with more crops of people, or leave --images out to use drawn figures"
        raise BadInput(f"parity needs {COUNT} distinct images", f"{images.distinct} in {folder}", do)
    return images


def require_disjoint(parity: ImageSet, calibration: ImagesRecord) -> None:
    """Check that no parity image is a calibration image, of this export or of the one that made the plan.

    Raises:
        BadInput: the sets share images.
    """
    shared = set(parity.record.images) & set(calibration.images)
    if shared:
        text = f"{len(shared)} images are both in {parity.source} and in {calibration.source}"
        raise BadInput("parity of int8 cannot use its calibration images", text, "name two folders without overlap")
