"""Image files of a dataset, and the pixels that its annotations refer to."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.datasets.orientation import JPEG, JPEG_HEAD, MIRRORED, SWAPPED, UPRIGHT, read_orientation
from export.common.errors import BadInput

SIZE_TOLERANCE_PX = 4
"""Allowed difference between an image and its annotated size: tools that cut videos into images drop or pad a few rows.
A larger one means that it was resized or turned, and then every annotated pixel is wrong."""
EVIDENCE_IMAGES = 8
"""Number of images that are measured to find out which pixels the annotations refer to."""

Size = tuple[int, int]
"""Width, height."""
Pixels = Literal["stored", "shown"]
"""Annotations refer to the file's own pixels, or to the image as its EXIF orientation shows it."""
PIXELS: tuple[Pixels, ...] = ("stored", "shown")


def read_image(path: Path, size: Size) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB pixels 0..255, upright as the file's EXIF orientation says.

    Raises:
        BadInput: no image, or its size differs from the annotated one.
    """
    import cv2

    encoded = _read(path)
    try:
        decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR) if encoded else None
    except cv2.error as error:
        raise _no_image(path, error.err or str(error)) from error
    if decoded is None:
        raise _no_image(path, f"{len(encoded):,} bytes that OpenCV cannot decode")
    actual = _size(decoded)
    if not _same_size(actual, size):
        raise BadInput(
            f"{path} is not the image that was annotated",
            f"{_times(actual)} pixels, annotated {_times(size)}",
            "use the original image, neither resized nor turned",
        )
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def find_pixels(images: Mapping[Path, Size], option: Pixels | None) -> tuple[Pixels | None, dict[Path, int], list[str]]:
    """Find out which pixels the annotations of a dataset refer to.

    Returns:
        The pixels, None if no image has an EXIF orientation; the orientations of those that have one; notes.

    Raises:
        BadInput: neither the user nor the images' sizes tell what annotations refer to, or images are mirrored.
    """
    turned = {path: o for path in images if (o := orientation_of(path)) != UPRIGHT}
    if not turned:
        return None, {}, []
    names = ", ".join(path.name for path in islice(turned, 3))
    count = f"{len(turned):,} of {len(images):,} images have an EXIF orientation ({names})"
    pixels, evidence = option, set[Pixels]()
    if pixels is None:
        for path in islice((path for path, orientation in turned.items() if orientation in SWAPPED), EVIDENCE_IMAGES):
            evidence |= _pixels_by_size(path, images[path])
        if len(evidence) != 1:
            reason = "the annotated sizes contradict each other" if evidence else "the annotated sizes fit both"
            raise BadInput(
                "annotations may refer to images as stored or as shown",
                f"{count}; {reason}",
                "--pixels stored if your labelling tool ignores EXIF, as pycocotools does; otherwise --pixels shown",
            )
        [pixels] = evidence
    mirrored = [path.name for path, orientation in turned.items() if orientation in MIRRORED]
    if pixels == "stored" and mirrored:
        detail = f"{len(mirrored):,} images, such as {mirrored[0]}: left and right may be exchanged"
        raise BadInput("the EXIF orientation mirrors annotated images", detail, "annotate upright copies of them")
    source = "--pixels says" if option else "the annotated sizes show"
    return pixels, turned, [f"{count}; annotations refer to {pixels} pixels, as {source}"]


def orientation_of(path: Path) -> int:
    """Return the EXIF orientation of an image file; see ``read_orientation``.

    Raises:
        BadInput: it cannot be read.
    """
    head = _read(path, JPEG_HEAD)
    return read_orientation(head if head.startswith(JPEG) else _read(path))


def _pixels_by_size(path: Path, size: Size) -> set[Pixels]:
    """Return the pixels whose size only is the annotated one, of an image whose orientation swaps width and height."""
    import cv2

    image = cv2.imdecode(np.frombuffer(_read(path), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return set()
    width, height = _size(image)
    fits: dict[Pixels, bool] = {"shown": _same_size((width, height), size), "stored": _same_size((height, width), size)}
    return {choice for choice in PIXELS if fits[choice]} if sum(fits.values()) == 1 else set()


def _read(path: Path, count: int = -1) -> bytes:
    try:  # not cv2.imread, which knows no Unicode paths on Windows
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error


def _size(image: NDArray[Any]) -> Size:
    return image.shape[1], image.shape[0]


def _same_size(actual: Size, annotated: Size) -> bool:
    return max(abs(a - b) for a, b in zip(actual, annotated, strict=True)) <= SIZE_TOLERANCE_PX


def _times(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def _no_image(path: Path, detail: str) -> BadInput:
    return BadInput(f"cannot read the image {path}", detail, "download it again, or remove it from the dataset")
