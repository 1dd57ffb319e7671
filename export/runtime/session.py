"""The interface that all sessions have, and names and helpers that they share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

INPUT = "image"
"""Name of an artifact's one input: float32 (batch, 3, S, S), normalised; or uint8 (batch, S, S, 3), RGB pixels."""
OUTPUT = "joints"
"""Name of an artifact's one output: float32 (batch, joints, 3): x, y, z in bins."""

Model = Union[bytes, Path]
"""An ONNX model: its bytes, or the path of its file."""

if TYPE_CHECKING:
    from typing import Protocol

    import numpy as np
    from numpy.typing import NDArray

    Images = NDArray[Any]
    Joints = NDArray[np.float32]

    class Session(Protocol):
        """A model loaded in a runtime."""

        precision: str
        takes_pixels: bool
        """True: the input is uint8 pixels; False: it is normalised float32."""

        @property
        def runtime(self) -> str:
            """Name of the runtime."""

        @property
        def largest_batch(self) -> int | None:
            """Largest number of images in one call; None: any number."""

        def run(self, images: Images) -> Joints:
            """Return the joints of one batch, in new memory."""

        def describe(self) -> str:
            """Return runtime, version and device."""

        def threads_used(self) -> int | None:
            """Return the number of processor threads, read back from the runtime; None on a GPU."""

        def convolution_types(self) -> dict[str, int]:
            """Count the convolutions by the type that they compute in, read back from the runtime."""

        def close(self) -> None:
            """Release the model; it cannot run afterwards."""

else:
    Images = Joints = Session = Any


def model_bytes(model: Model) -> bytes:
    """Return the bytes of a model."""
    return model if isinstance(model, bytes) else model.read_bytes()


def version_numbers(version: str) -> list[int]:
    """Return the first three numbers of a version.

    >>> version_numbers("10.3.0.26")
    [10, 3, 0]
    """
    return [int(part) for part in re.findall(r"\d+", version)[:3]]
