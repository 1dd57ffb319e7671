"""What every runtime looks like from outside."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float32]
"""(N, J, 3) x, y, z in bins."""


class Backend(Protocol):
    """A model that is loaded and can be run."""

    runtime: str
    """As the command line calls it."""
    precision: str
    takes_pixels: bool
    """Whether its input is (N, S, S, 3) uint8 RGB; otherwise (N, 3, S, S) float32, normalised."""

    def run(self, images: NDArray[Any]) -> Joints:
        """One batch."""

    def describe(self) -> str:
        """Runtime, version and device, in words."""

    def close(self) -> None:
        """Give back what it holds; it cannot be run afterwards."""
