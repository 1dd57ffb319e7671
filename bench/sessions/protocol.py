"""The protocol of a session, and the optional ones that only a benchmark asks for."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float32]
"""(N, J, 3) x, y, z in bins."""


class Session(Protocol):
    """A model that is loaded in a runtime."""

    precision: str
    takes_pixels: bool
    """True: the input is (N, S, S, 3) uint8 RGB; False: it is (N, 3, S, S) float32, normalised."""

    @property
    def runtime(self) -> str:
        """The runtime's name on the command line."""

    def run(self, images: NDArray[Any]) -> Joints:
        """Return the joints of one batch, in memory of their own."""

    def describe(self) -> str:
        """Return runtime, version and device."""

    def close(self) -> None:
        """Release the model; it cannot be run afterwards."""


@runtime_checkable
class Accountable(Protocol):
    """A session that reads back what it does."""

    def facts(self) -> dict[str, Any]:
        """Return plain data, read back from the runtime, not copied from the request.

        ``device``; ``precision_used`` and its ``proof`` in words; ``threads``; ``versions``; ``options``;
        ``problems``: reasons why figures would not belong to the request (another device, another precision, a
        recompilation), each of which makes the row invalid. Where the runtime tells, ``executed``: the number of
        ``nodes``, and ``convolutions`` by precision.
        """


@dataclass(frozen=True)
class Executed:
    """The graph that a runtime executes: its nodes, and its convolutions by precision."""

    nodes: int
    convolutions: Counter[str]

    def as_facts(self) -> dict[str, Any]:
        """Return plain data for ``Accountable.facts``."""
        return {"nodes": self.nodes, "convolutions": dict(self.convolutions)}

    def __str__(self) -> str:
        total = self.convolutions.total()
        counts = self.convolutions.most_common()
        return ", ".join(f"{count} of {total} convolutions in {precision}" for precision, count in counts)


@runtime_checkable
class SelfTiming(Protocol):
    """A session whose runtime times itself: the boundary ``device``."""

    def device_ms(self) -> float:
        """Return the runtime's own time of the last run."""


@runtime_checkable
class Bindable(Protocol):
    """A session that runs on memory bound beforehand: the boundary ``host_nocopy``."""

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """Return a function that runs the model on ``images`` and leaves the joints where they are."""


@runtime_checkable
class Pinning(Protocol):
    """A session whose device fetches images by itself from pinned memory."""

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of the images in pinned memory."""


@runtime_checkable
class Limited(Protocol):
    """A session with a largest batch."""

    @property
    def largest_batch(self) -> int | None:
        """Largest number of images in one call; None: any number."""


@runtime_checkable
class Concurrent(Protocol):
    """A session that several threads can call at once."""

    def for_callers(self, count: int) -> Callable[[NDArray[Any]], Joints]:
        """Return ``run`` for ``count`` threads."""


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer of a runtime: the mean over runs."""

    name: str
    """The runtime's name of the layer."""
    ms: float
    origin: str = ""
    """Nodes or modules of the network that the layer was made from, where the runtime or its graph tells."""


class Profiler(Protocol):
    """A model that times its layers. That slows it down, so nothing else is timed on it."""

    source: str
    """Name of the clock."""

    def run(self, images: NDArray[Any]) -> object:
        """Run one batch."""

    def start(self) -> None:
        """Forget the runs until now, which warmed it up; called once."""

    def layers(self) -> list[LayerTime]:
        """Return means over the runs since ``start``, in the order of execution; it cannot be run afterwards."""


@runtime_checkable
class Profilable(Protocol):
    """A session that can time the layers of its network."""

    def profiler(self) -> Profiler:
        """Return the same model, loaded again or changed for profiling.

        Raises:
            NotPossible: the runtime cannot profile it.
        """
