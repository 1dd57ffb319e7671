"""A backend with a known slowdown planted, for checks of those who should see it.

Nothing else is imported here: what a worker imports to open it would count as its memory.
"""

import time
from collections.abc import Callable
from typing import Any

from bench.backends.protocol import Accountable, Backend, Joints


class Slowed:
    """A backend that takes longer by a share of its own time, and does nothing else."""

    def __init__(self, backend: Backend, share: float) -> None:
        self._backend, self._share = backend, share
        self.runtime, self.precision, self.takes_pixels = backend.runtime, backend.precision, backend.takes_pixels

    def run(self, images: Any) -> Joints:
        """See ``bench.backends.protocol.Backend``."""
        began = time.perf_counter()
        joints = self._backend.run(images)
        until = began + (time.perf_counter() - began) * (1 + self._share)
        while time.perf_counter() < until:
            pass
        return joints

    def facts(self) -> dict[str, Any]:
        """See ``bench.backends.protocol.Accountable``."""
        return self._backend.facts() if isinstance(self._backend, Accountable) else {}

    def describe(self) -> str:
        """See ``bench.backends.protocol.Backend``."""
        return f"{self._backend.describe()}, {self._share:.0%} slower"

    def close(self) -> None:
        """See ``bench.backends.protocol.Backend``."""
        self._backend.close()


def open_slowed(open_backend: Callable[[], Backend], share: float) -> Slowed:
    """What a worker opens."""
    return Slowed(open_backend(), share)
