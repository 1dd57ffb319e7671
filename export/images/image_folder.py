"""Crops of people from a folder of image files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput
from export.images.photo import read_photo
from export.model.pose import crop, enlarged

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

NOTHING = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Crops:
    """What was read of a folder."""

    images: NDArray[np.uint8]
    """(N, S, S, 3) RGB."""
    found: int
    """How many image files lie in the folder."""
    unreadable: tuple[str, ...]
    """Names of chosen files that hold no image."""
    made_square: int
    """How many of the images were not square."""
    subfolders: int
    """How many folders lie in it, which are not looked into."""


def read_crops(folder: Path, size: int, fewest: int, most: int) -> Crops:
    """The folder's image files, in the order of their names, each as one person's crop of ``size`` pixels.

    A square image is taken as a crop already and only resized. Of any other the whole is taken as the person's box,
    which is made square and enlarged as every person's box is. Of more than ``most`` files as many are
    chosen, evenly over their order.

    Raises:
        BadInput: no folder, or fewer than ``fewest`` of the chosen files hold an image.
    """
    files, subfolders = _image_files(folder)
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)]
    images, unreadable, made_square = [], [], 0
    for file in chosen:
        try:
            image = read_photo(file).image
        except BadInput:
            image = NOTHING
        if min(image.shape[:2]) < 2:
            unreadable.append(file.name)
            continue
        images.append(_as_crop(image, size))
        made_square += image.shape[0] != image.shape[1]
    if len(images) < fewest:
        seen = f"{len(images)} readable of {len(files)} files with the suffixes {', '.join(SUFFIXES)}"
        if unreadable:
            seen += f"; no image in {', '.join(unreadable)}"
        if subfolders:
            seen += f"; {subfolders} subfolders, which are not looked into"
        raise BadInput(f"too few images in {folder}", seen, f"give a folder with {fewest} crops of people at least")
    return Crops(np.stack(images), len(files), tuple(unreadable), made_square, subfolders)


def _image_files(folder: Path) -> tuple[list[Path], int]:
    """The image files in the order of their names, and how many folders lie beside them."""
    try:
        found = sorted(folder.iterdir())
        return [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file()], sum(p.is_dir() for p in found)
    except OSError as error:
        do = "name a folder with crops of people"
        raise BadInput(f"cannot read the images' folder {folder}", error.strerror or str(error), do) from error


def _as_crop(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    return crop(image, box if width == height else enlarged(box), size)
