"""Protocols of sessions: what every one has, and what only a benchmark asks for."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float32]
"""(N, J, 3) x, y, z in bins."""


class Session(Protocol):
    """A model that is loaded and can be run."""

    precision: str
    takes_pixels: bool
    """Whether its input is (N, S, S, 3) uint8 RGB; otherwise (N, 3, S, S) float32, normalised."""

    @property
    def runtime(self) -> str:
        """As the command line calls it."""

    def run(self, images: NDArray[Any]) -> Joints:
        """One batch."""

    def describe(self) -> str:
        """Runtime, version and device, in words."""

    def close(self) -> None:
        """Give back what it holds; it cannot be run afterwards."""


@runtime_checkable
class Accountable(Protocol):
    """A backend that can prove what it does."""

    def facts(self) -> dict[str, Any]:
        """Plain data, read back from the runtime, not from what was asked of it.

        ``device``; ``precision_used`` with ``proof`` in words; ``executed``, if it can tell: how many ``nodes``, and
        ``convolutions`` by precision; ``threads``; ``versions``; ``options``; and
        ``problems``: why figures would not be those of what was asked for (another device, another precision, a
        recompilation). Any problem makes the row invalid.
        """


@dataclass(frozen=True)
class Executed:
    """The graph that a runtime really executes: its nodes, and its convolutions by precision."""

    nodes: int
    convolutions: Counter[str]

    def as_facts(self) -> dict[str, Any]:
        """As ``bench.sessions.protocol.Accountable`` has it."""
        return {"nodes": self.nodes, "convolutions": dict(self.convolutions)}


def in_words(counts: Counter[str]) -> str:
    """``47 of 47 convolutions in fp32``."""
    total = counts.total()
    return ", ".join(f"{count} of {total} convolutions in {name}" for name, count in counts.most_common())


@runtime_checkable
class SelfTiming(Protocol):
    """A backend whose runtime times itself: the boundary ``device``."""

    def device_ms(self) -> float:
        """What the last run took by the runtime's own account."""


@runtime_checkable
class Bindable(Protocol):
    """A backend that can run on memory bound beforehand: the boundary ``host_nocopy``."""

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """What runs on ``images`` as often as it is called, and leaves its result where it is."""


@runtime_checkable
class Pinning(Protocol):
    """A backend whose device fetches images by itself, if they lie where it can."""

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """A copy of the images in such memory."""


@runtime_checkable
class Limited(Protocol):
    """A backend that takes so many images at a time and no more."""

    largest_batch: int


@runtime_checkable
class Concurrent(Protocol):
    """A backend with which several calls can be in flight."""

    def for_callers(self, count: int) -> Callable[[NDArray[Any]], Joints]:
        """``run``, for ``count`` threads that call it at once; what it takes is given back with it."""


@dataclass(frozen=True)
class LayerTime:
    """What one layer of a runtime took: the mean over runs."""

    name: str
    """As the runtime calls it."""
    ms: float
    origin: str = ""
    """Which nodes or modules of the network it was made from, where the runtime or its graph tells."""


class Profiler(Protocol):
    """A model that tells what each of its layers takes. That slows it down: nothing else is timed on it."""

    source: str
    """Whose clocks, in words."""

    def run(self, images: NDArray[Any]) -> object:
        """One batch, as ``Session.run`` has it."""

    def start(self) -> None:
        """Forget the runs until now, which warmed it up; called once."""

    def layers(self) -> list[LayerTime]:
        """In the order in which they ran, means over the runs since ``start``; it cannot be run afterwards."""


@runtime_checkable
class Profilable(Protocol):
    """A backend that can say where the time goes within the network."""

    def profiler(self) -> Profiler:
        """The same model, loaded again or changed so that it tells.

        Raises:
            NotPossible: it does not tell.
        """
