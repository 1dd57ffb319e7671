"""Folder of a dataset: its annotation files and images, and the people that are left out."""

import os
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from export.common.errors import BadInput
from export.common.plain import listed
from export.common.records import as_utf8
from export.model.camera import Array

SHOWN_ENTRIES = 8
"""Number of entries of a folder in a message."""
NO_AREA = "their box has no area inside the image"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PixelCount = Annotated[int, Field(gt=0)]
"""Width or height of an image."""

T = TypeVar("T")


class Source:
    """Folder of a dataset, with the problems found while its annotations are read."""

    def __init__(self, dataset: str, folder: Path, expected: str, image_folders: Sequence[Path]) -> None:
        """Read nothing yet."""
        self.dataset, self.folder = dataset, folder
        self.files: list[Path] = []
        """Annotation files that were read."""
        self._expected, self._image_folders = expected, image_folders
        self._images: dict[str, Path | None] = {}
        self._left_out: dict[str, list[str]] = {}

    def require(self, path: Path) -> Path:
        """Return ``path``.

        Raises:
            BadInput: there is no such file or folder.
        """
        if not path.exists():
            raise self.layout_error(f"{self.relative(path)} is missing")
        return path

    def relative(self, path: Path) -> str:
        """Return ``path`` relative to the dataset's folder."""
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def layout_error(self, detail: str) -> BadInput:
        """Return the error for a folder with another layout."""
        problem = f"{self.folder} does not have the layout of {self.dataset}"
        return BadInput(problem, f"{detail}; {self._contents()}", f"expected {self._expected}")

    def _contents(self) -> str:
        if not self.folder.is_dir():
            return "it is a file" if self.folder.exists() else "there is no such folder"
        try:
            names = sorted(path.name + "/" * path.is_dir() for path in self.folder.iterdir())
        except OSError as error:
            return f"it cannot be listed: {error.strerror or error}"
        return f"the folder contains {listed(names, SHOWN_ENTRIES)}"

    def read(self, path: Path, kind: TypeAdapter[T]) -> T:
        """Read and validate an annotation file; keys that ``kind`` does not know are dropped while reading.

        Raises:
            BadInput: unreadable, not JSON, or a field that is missing or of the wrong kind.
        """
        self.files.append(path)
        try:
            return kind.validate_json(as_utf8(path.read_bytes()))
        except OSError as error:
            raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error
        except UnicodeError as error:
            raise BadInput(f"{path} is not valid JSON", str(error), "download or write it again") from error
        except ValidationError as error:
            details = error.errors(include_url=False)
            if details[0]["type"] == "json_invalid":
                raise BadInput(f"{path} is not valid JSON", details[0]["msg"], "download or write it again") from error
            problems = [
                f"{'.'.join(map(str, e['loc'])) or 'the whole file'}: {e['msg']} (value: {reprlib.repr(e['input'])})"
                for e in details
            ]
            advice = "compare it with the dataset's description, or download it again"
            raise BadInput(f"{path} does not contain valid annotations", listed(problems, 3), advice) from error

    def find_image(self, file_name: str) -> Path | None:
        """Return the image of that name from the first folder that has it; None if it is missing.

        Raises:
            BadInput: the name leads out of the folder.
        """
        if file_name not in self._images:
            name = PurePosixPath(file_name.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:
                raise BadInput(
                    f"an annotation of {self.dataset} names an image outside the dataset",
                    f"file_name {file_name!r}",
                    "write file names relative to the folder of the images",
                )
            paths = (folder / name for folder in self._image_folders)
            self._images[file_name] = next((path for path in paths if os.path.isfile(path)), None)
        return self._images[file_name]

    def leave_out(self, person: str, reason: str) -> None:
        """Record a person that cannot be evaluated."""
        self._left_out.setdefault(reason, []).append(person)

    def notes(self) -> list[str]:
        """Return one sentence about missing images, and one for each reason to leave people out.

        Raises:
            BadInput: all images are missing.
        """
        notes = [f"{len(names):,} left out, {reason}: {listed(names, 3)}" for reason, names in self._left_out.items()]
        missing = [name for name, path in self._images.items() if path is None]
        if not missing:
            return notes
        if len(missing) == len(self._images):
            folders = " or ".join(self.relative(folder) + "/" for folder in self._image_folders)
            raise self.layout_error(f"none of {len(missing):,} annotated images is in {folders}: {listed(missing, 3)}")
        count, names = f"{len(missing):,} of {len(self._images):,}", listed(missing, 3)
        return [f"{count} images are missing, their people left out: {names}", *notes]


def numbers(value: Any, shape: tuple[int, ...], name: str, needed: NDArray[np.bool_] | None = None) -> Array:
    """Return ``value`` as an array of ``shape``; rows that are not ``needed`` may hold anything.

    Raises:
        BadInput: another shape, no numbers, or a needed one that is not finite.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        detail, advice = reprlib.repr(value), f"expected {_by(shape)} numbers"
        raise BadInput(f"{name} is no array of numbers", detail, advice) from None
    if array.shape != shape:
        raise BadInput(f"{name} has the wrong size", f"{_by(array.shape)} numbers", f"expected {_by(shape)}")
    invalid = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if needed is not None:
        invalid &= needed
    if invalid.any():
        row = int(np.argmax(invalid))
        raise BadInput(f"{name} has a value that is no finite number", f"row {row}: {array[row]}", "correct it")
    return array


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "single"


class _Image(Protocol):
    @property
    def id(self) -> Any: ...


class _Annotation(Protocol):
    @property
    def image_id(self) -> Any: ...


ImageT = TypeVar("ImageT", bound=_Image)
AnnotationT = TypeVar("AnnotationT", bound=_Annotation)


def with_images(
    images: Sequence[ImageT], annotations: Sequence[AnnotationT], path: Path
) -> Iterator[tuple[ImageT, AnnotationT]]:
    """Yield each annotation of the file with its image, in the file's order.

    Raises:
        BadInput: two images share an id, or an annotation's image is not listed.
    """
    by_id = {image.id: image for image in images}
    if len(by_id) < len(images):
        detail = f"{len(images) - len(by_id):,} image ids occur twice"
        raise BadInput(f"{path} is ambiguous", detail, "give each image an id of its own")
    for annotation in annotations:
        image = by_id.get(annotation.image_id)
        if image is None:
            detail = f"image_id {annotation.image_id!r}, which is not the id of any of {len(by_id):,} images"
            raise BadInput(f"{path} has an annotation of an image that it does not list", detail, "complete the file")
        yield image, annotation
