"""Sets of crops, and their description in results."""

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
"""Beginning of a source of drawn images."""

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
