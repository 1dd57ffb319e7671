"""Reader of a folder of crops."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput
from export.images.photo import read_photo
from export.runtime.pose import crop, enlarged

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

EMPTY_IMAGE = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops from a folder."""

    images: NDArray[np.uint8]
    """(N, S, S, 3) RGB."""
    files: int
    """Number of image files in the folder."""
    unreadable: tuple[str, ...]
    """Names of the chosen files without a readable image."""
    made_square: int
    """Number of images that were not square."""
    subfolders: int
    """Number of its subfolders, which are not searched."""


def read_crops(folder: Path, size: int, fewest: int, most: int) -> Crops:
    """Read a folder's image files, sorted by name, as crops of ``size`` pixels.

    A square image is a crop already and is only resized. Any other image is one person's box, which is made square and
    enlarged. Of more than ``most`` files, ``most`` are chosen at equal intervals.

    Raises:
        BadInput: the folder does not exist, or fewer than ``fewest`` of the chosen files are readable.
    """
    files, subfolders = _list_images(folder)
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)]
    images, unreadable, made_square = [], [], 0
    for file in chosen:
        try:
            image = read_photo(file).image
        except BadInput:
            image = EMPTY_IMAGE
        if min(image.shape[:2]) < 2:
            unreadable.append(file.name)
            continue
        images.append(_as_crop(image, size))
        made_square += image.shape[0] != image.shape[1]
    if len(images) < fewest:
        counts = f"{len(images)} readable of {len(files)} files with the suffixes {', '.join(SUFFIXES)}"
        if unreadable:
            counts += f"; not readable: {', '.join(unreadable)}"
        if subfolders:
            counts += f"; {subfolders} subfolders were not searched"
        raise BadInput(f"too few images in {folder}", counts, f"name a folder with at least {fewest} crops of people")
    return Crops(np.stack(images), len(files), tuple(unreadable), made_square, subfolders)


def _list_images(folder: Path) -> tuple[list[Path], int]:
    """Return the image files sorted by name, and the number of subfolders."""
    try:
        paths = sorted(folder.iterdir())
        return [p for p in paths if p.suffix.lower() in SUFFIXES and p.is_file()], sum(p.is_dir() for p in paths)
    except OSError as error:
        do = "name a folder with crops of people"
        raise BadInput(f"cannot read the folder {folder}", error.strerror or str(error), do) from error


def _as_crop(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    return crop(image, box if width == height else enlarged(box), size)
