"""Annotation files, read and checked; what is wrong is said in the terms of the dataset's layout."""

import os
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from export.common.errors import BadInput
from export.model.pose import Array

NAMED = 3
"""How many of many a message names."""
LISTED = 8
"""How many entries of a folder a message lists."""

NO_AREA = "their box has no area inside the image"
"""Why somebody is left out, in every dataset."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PixelCount = Annotated[int, Field(gt=0)]
"""Width or height of an image."""

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """How a dataset lies in the folder that the user named."""

    dataset: str
    folder: Path
    expected: str
    """One line: where the annotations and the images are."""

    def require(self, path: Path) -> Path:
        """``path`` itself.

        Raises:
            BadInput: there is no such file or folder.
        """
        if not path.exists():
            raise self.refused(f"{self.relative(path)} is missing")
        return path

    def relative(self, path: Path) -> str:
        """``path`` as seen from the dataset's folder."""
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def refused(self, seen: str) -> BadInput:
        """The error for a folder that is laid out in another way."""
        what = f"{self.folder} is not laid out as for {self.dataset}"
        return BadInput(what, f"{seen}; {self.holds()}", f"expected {self.expected}")

    def holds(self) -> str:
        """What lies in the folder, in words."""
        if not self.folder.is_dir():
            return "it is a file" if self.folder.exists() else "there is no such folder"
        try:
            names = sorted(path.name + "/" * path.is_dir() for path in self.folder.iterdir())
        except OSError as error:
            return f"it cannot be listed: {error.strerror or error}"
        return f"the folder holds {some(names, LISTED)}"


def some(names: Sequence[str], count: int = NAMED) -> str:
    """The first ``count`` names, and whether there are more."""
    return ", ".join(names[:count]) + f" and {len(names) - count} more" * (len(names) > count) or "nothing"


@dataclass
class LeftOut:
    """People who are not judged, by reason."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """One more person."""
        self.names.setdefault(reason, []).append(name)

    def notes(self) -> list[str]:
        """One sentence a reason."""
        return [f"{len(names):,} left out, {reason}: {some(names)}" for reason, names in self.names.items()]


def read_json(path: Path, kind: TypeAdapter[T]) -> T:
    """What the file holds, checked; keys that ``kind`` does not know are dropped while reading.

    Raises:
        BadInput: unreadable, not JSON, or a field that is missing or of the wrong kind.
    """
    try:
        return kind.validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error
    except ValidationError as error:
        details = error.errors(include_url=False)
        if details[0]["type"] == "json_invalid":
            raise BadInput(f"{path} is not valid JSON", details[0]["msg"], "download or write it again") from error
        seen = [
            f"{'.'.join(map(str, e['loc'])) or 'the whole file'}: {e['msg']} (seen: {reprlib.repr(e['input'])})"
            for e in details
        ]
        do = "compare it with the dataset's description, or download it again"
        raise BadInput(f"{path} does not hold the annotations that are expected", some(seen), do) from error


def numbers(value: Any, shape: tuple[int, ...], what: str, needed: NDArray[np.bool_] | None = None) -> Array:
    """``value`` as an array of ``shape``; rows that are not ``needed`` may hold anything.

    Raises:
        BadInput: another shape, no numbers, or a needed one that is not finite. ``what`` names the value.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(
            f"{what} is no array of numbers", reprlib.repr(value), f"expected {_by(shape)} numbers"
        ) from None
    if array.shape != shape:
        raise BadInput(f"{what} has the wrong size", f"{_by(array.shape)} numbers", f"expected {_by(shape)}")
    finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    wrong = ~finite if needed is None else needed & ~finite
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadInput(
            f"{what} holds something that is no finite number", f"row {row}: {array[row]}", "mend the annotation"
        )
    return array


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "single"


class _Image(Protocol):
    @property
    def id(self) -> Any: ...


class _Annotation(Protocol):
    @property
    def image_id(self) -> Any: ...


I = TypeVar("I", bound=_Image)  # noqa: E741
A = TypeVar("A", bound=_Annotation)


def paired(images: Sequence[I], annotations: Sequence[A], path: Path) -> Iterator[tuple[I, A]]:
    """Each annotation of the file with its image, in the file's order.

    Raises:
        BadInput: two images share an id, or an annotation's image is not listed.
    """
    by_id = {image.id: image for image in images}
    if len(by_id) < len(images):
        raise BadInput(
            f"{path} is ambiguous", f"{len(images) - len(by_id):,} image ids stand twice", "number them anew"
        )
    for annotation in annotations:
        image = by_id.get(annotation.image_id)
        if image is None:
            seen = f"image_id {annotation.image_id!r}, which is not the id of any of {len(by_id):,} images"
            raise BadInput(f"{path} has an annotation of an image that it does not list", seen, "complete the file")
        yield image, annotation
