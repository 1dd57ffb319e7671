"""Sets of crops, drawn or from a folder, and their description in results."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from export.common.errors import BadInput
from export.images.figures import CROP_SIZE, draw_figures
from export.images.photo import read_photo
from export.runtime.pose import crop, enlarged

DRAWN = "drawn figures"
"""Beginning of a source of drawn images."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

EMPTY_IMAGE = np.empty((0, 0, 3), np.uint8)
UNREADABLE_SHARE = 0.05
"""Largest share of unreadable files in a folder."""

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class ImagesRecord:
    """An image set without its pixels; it shows whether two sets share an image."""

    source: str
    count: int
    sha256: str
    """``set_sha256`` of ``images``."""
    notes: tuple[str, ...]
    images: tuple[str, ...]
    """SHA-256 of each crop's (S, S, 3) pixels."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Crops and their source."""

    images: Images
    """(N, S, S, 3) RGB."""
    source: str
    notes: tuple[str, ...] = ()

    @cached_property
    def record(self) -> ImagesRecord:
        """The set without its pixels."""
        hashes = tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in self.images)
        return ImagesRecord(self.source, len(hashes), set_sha256(hashes), self.notes, hashes)

    @property
    def sha256(self) -> str:
        """Hash of the set."""
        return self.record.sha256

    @property
    def distinct(self) -> int:
        """Number of distinct images."""
        return len(set(self.record.images))

    def as_json(self) -> dict[str, Any]:
        """Return source, count, hash and notes."""
        return {"source": self.source, "count": len(self.images), "sha256": self.sha256, "notes": list(self.notes)}


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


def set_sha256(images: Sequence[str]) -> str:
    """Return the hash of a set from its images' hashes, in order."""
    return hashlib.sha256("\n".join(images).encode()).hexdigest()


def drawn_set(size: int, count: int, seed: int) -> ImageSet:
    """Return the first drawn figures of a seed, scaled if the network's input is not 256 pixels."""
    images = [figure.image for figure in draw_figures(count, seed)]
    if size != CROP_SIZE:
        images = [np.asarray(cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA), np.uint8) for i in images]
    return ImageSet(np.stack(images), f"{DRAWN}, seed {seed}")


def folder_set(folder: Path, size: int, fewest: int, most: int) -> ImageSet:
    """Return the crops in a folder; of more than ``most``, ``most`` at equal intervals.

    Raises:
        BadInput: the folder does not exist, has fewer than ``fewest`` images, or more than 5 % of unreadable files.
    """
    crops = read_crops(folder, size, fewest, most)
    chosen, unreadable = len(crops.images) + len(crops.unreadable), ", ".join(crops.unreadable[:5])
    if len(crops.unreadable) > UNREADABLE_SHARE * chosen:
        counts = f"{len(crops.unreadable)} of {chosen}: {unreadable}"
        raise BadInput(f"too many files in {folder} cannot be read as images", counts, "repair or remove them")
    notes = [f"{len(crops.unreadable)} files cannot be read: {unreadable}"] if unreadable else []
    if chosen < crops.files:
        notes.append(f"{chosen} of {crops.files} images, chosen at equal intervals")
    if crops.made_square:
        notes.append(f"{crops.made_square} images were not square and used as a person's box")
    if crops.subfolders:
        notes.append(f"{crops.subfolders} subfolders were not searched")
    return ImageSet(crops.images, f"crops from folder {folder.name}", tuple(notes))


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
