"""Crops that something is measured on, and what a result says of them."""

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
from export.images.image_folder import read_crops

DRAWN = "drawn figures"
"""What the source of a set begins with whose images this project drew."""

UNREADABLE_SHARE = 0.05
"""Above it something is wrong with the folder, and a guess at what is left would not be honest."""

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class ImagesRecord:
    """An image set without its pixels: enough to tell whether another shares an image with it."""

    source: str
    count: int
    sha256: str
    """Of the images' own hashes, in order: ``set_sha256``."""
    notes: tuple[str, ...]
    images: tuple[str, ...]
    """Each crop's hash: sha256 of its (S, S, 3) pixels."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Crops, and where they came from."""

    images: Images
    """(N, S, S, 3) RGB."""
    source: str
    notes: tuple[str, ...] = ()

    @cached_property
    def record(self) -> ImagesRecord:
        """What a result that must be kept apart from these images says of them."""
        each = tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in self.images)
        return ImagesRecord(self.source, len(each), set_sha256(each), self.notes, each)

    @property
    def sha256(self) -> str:
        """Of the images' own hashes, in order."""
        return self.record.sha256

    @property
    def distinct(self) -> int:
        """How many images differ from all before them, pixel by pixel."""
        return len(set(self.record.images))

    def as_json(self) -> dict[str, Any]:
        """Where the images came from, how many they are, and their hash."""
        return {"source": self.source, "count": len(self.images), "sha256": self.sha256, "notes": list(self.notes)}


def set_sha256(images: Sequence[str]) -> str:
    """The hash of a set, of its images' hashes in order."""
    return hashlib.sha256("\n".join(images).encode()).hexdigest()


def drawn_set(size: int, count: int, seed: int) -> ImageSet:
    """The first drawn figures of a seed, scaled where the network does not take 256 pixels."""
    images = [figure.image for figure in draw_figures(count, seed)]
    if size != CROP_SIZE:
        images = [np.asarray(cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA), np.uint8) for i in images]
    return ImageSet(np.stack(images), f"{DRAWN}, seed {seed}")


def folder_set(folder: Path, size: int, fewest: int, most: int) -> ImageSet:
    """The crops in a folder, evenly chosen if there are more than ``most``.

    Raises:
        BadInput: no folder, fewer than ``fewest`` images in it, or more than one file in twenty that cannot be read.
    """
    crops = read_crops(folder, size, fewest, most)
    chosen, unreadable = len(crops.images) + len(crops.unreadable), ", ".join(crops.unreadable[:5])
    if len(crops.unreadable) > UNREADABLE_SHARE * chosen:
        seen = f"{len(crops.unreadable)} of {chosen}: {unreadable}"
        raise BadInput(f"too many files in {folder} cannot be read as images", seen, "mend or remove them")
    notes = [f"{len(crops.unreadable)} files cannot be read: {unreadable}"] if unreadable else []
    if chosen < crops.found:
        notes.append(f"{chosen} of {crops.found} images, evenly chosen")
    if crops.made_square:
        notes.append(f"{crops.made_square} images were not square, and taken as a person's box")
    if crops.subfolders:
        notes.append(f"{crops.subfolders} subfolders were not looked into")
    return ImageSet(crops.images, f"crops from folder {folder.name}", tuple(notes))
