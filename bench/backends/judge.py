"""What parity is judged with, as a backend: accuracy is measured on the very computation that was proven."""

from typing import Any

from numpy.typing import NDArray

from bench.backends.protocol import Joints
from export.interface import precision_of
from export.runners import Runner


class Judge:
    """One of ``export.runners``."""

    def __init__(self, runner: Runner, runtime: str, edition: str) -> None:
        self.runtime = runtime
        self.precision = precision_of(edition)
        self.takes_pixels = edition != self.precision
        self._runner = runner

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Backend``."""
        return self._runner.run(images)

    def describe(self) -> str:
        """See ``Backend``."""
        return self._runner.describe()

    def close(self) -> None:
        """See ``Backend``."""
