"""Image files of a dataset: which are there, and their pixels."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bench.datasets.annotations import Layout, some
from export.common.errors import BadInput

SIZE_TOLERANCE_PX = 4
"""An image may differ by so much from its annotated size: tools that cut videos into images drop or pad a few rows.
More means that it was resized or turned, and then every annotated pixel is wrong."""


class Images:
    """Where the images of a dataset lie; remembers which were asked for and are missing."""

    def __init__(self, layout: Layout, *folders: Path) -> None:
        self._layout = layout
        self._folders = folders
        self._found: dict[str, Path | None] = {}

    def find(self, file_name: str) -> Path | None:
        """The image of that name in the first folder that has it; None if there is none.

        Raises:
            BadInput: the name leads out of the folder.
        """
        if file_name not in self._found:
            name = PurePosixPath(file_name.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts:
                raise BadInput(
                    f"an annotation of {self._layout.dataset} names an image outside the dataset",
                    f"file_name {file_name!r}",
                    "write file names relative to the folder of the images",
                )
            paths = (folder / name for folder in self._folders)
            self._found[file_name] = next((path for path in paths if os.path.isfile(path)), None)
        return self._found[file_name]

    def notes(self) -> list[str]:
        """One sentence where images are missing.

        Raises:
            BadInput: all of them are.
        """
        missing = [name for name, path in self._found.items() if path is None]
        if not missing:
            return []
        if len(missing) == len(self._found):
            folders = " or ".join(self._layout.relative(folder) + "/" for folder in self._folders)
            raise self._layout.refused(f"none of {len(missing):,} annotated images is in {folders}: {some(missing)}")
        return [f"{len(missing):,} of {len(self._found):,} images are missing, their people left out: {some(missing)}"]


def read_image(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB pixels 0..255, upright as the file's EXIF orientation says.

    Raises:
        BadInput: no image, or of another size than it is annotated with.
    """
    import cv2

    try:
        encoded = np.fromfile(path, np.uint8)  # not cv2.imread, which knows no Unicode paths on Windows
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error
    except cv2.error as error:
        raise _no_image(path, error.err or str(error)) from error
    if decoded is None:
        raise _no_image(path, f"{encoded.size:,} bytes that OpenCV takes for no image")
    seen_height, seen_width = decoded.shape[:2]
    if max(abs(seen_height - height), abs(seen_width - width)) > SIZE_TOLERANCE_PX:
        raise BadInput(
            f"{path} is not the image that was annotated",
            f"{seen_width}×{seen_height} pixels, annotated {width}×{height}",
            "the annotations hold for images as they were, neither resized nor turned: use those",
        )
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _no_image(path: Path, seen: str) -> BadInput:
    return BadInput(f"cannot read the image {path}", seen, "download it again, or take it out of the dataset")
