"""The images that parity is judged on: never those of training, calibration or evaluation.

They should be of the kind that the network was trained on. Where a network sees nothing that it knows its volumes
have many peaks of nearly the same height, and the least rounding moves joints from one to another: the demo
checkpoint's int8 drifts by 2 mm on its figures and by 9 cm on shapes without a figure.
"""

from pathlib import Path

from export.common.errors import BadInput
from export.images.figures import PARITY_SEED
from export.images.image_set import ImageSet, ImagesRecord, drawn_set, folder_set

COUNT = 64
MOST_IMAGES = 256


def parity_images(size: int, folder: Path | None = None) -> ImageSet:
    """Crops of people from ``folder``; without one 64 drawn figures.

    Raises:
        BadInput: fewer than 64 distinct images in the folder, or it cannot be read.
    """
    if folder is None:
        return drawn_set(size, COUNT, PARITY_SEED)
    found = folder_set(folder, size, COUNT, MOST_IMAGES)
    if (distinct := found.distinct) < COUNT:
        do = "name a folder with more crops of people, or leave --images out to use drawn figures"
        raise BadInput(f"parity needs {COUNT} distinct images", f"{distinct} in {folder}", do)
    return found


def require_disjoint(parity: ImageSet, calibration: ImagesRecord) -> None:
    """See that parity is not judged on what the scales were taken from, now or by the export that made a plan.

    Raises:
        BadInput: images stand in both.
    """
    both = set(parity.record.images) & set(calibration.images)
    if both:
        seen = f"{len(both)} images stand in {parity.source} and in {calibration.source}"
        raise BadInput("int8 cannot be judged on its own calibration images", seen, "give two folders without overlap")
