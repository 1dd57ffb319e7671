"""Messages between a coordinator and a worker process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.sessions.protocol import Session
from bench.stats.steadiness import State

HOST_E2E, HOST_NOCOPY, DEVICE = "host_e2e", "host_nocopy", "device"
"""``host_e2e``: wall clock around the call, NumPy to NumPy. ``host_nocopy``: the same on memory bound beforehand.
``device``: by the runtime's own clock."""

Samples = dict[str, list[float]]
"""Boundary → latencies in ms."""

Predict = Callable[[Session, Callable[[str], None]], object]
"""(backend, who is told each stage's end) → joints in a photo; see ``bench.passes.image_to_joints``."""


@dataclass(frozen=True)
class Job:
    """A session for a worker to run; it is sent as a pickle."""

    open: Callable[[], Session]
    inputs: Path
    """A .npy of (N, S, S, 3) uint8 RGB, shown in turn, one at a time."""
    modules: tuple[str, ...] = ()
    """Modules to import before loading, so that importing and loading are timed apart."""
    nocopy: bool = False
    gpu: bool = False
    """True if it computes on a GPU; it is then warmed up longer, by the GPU's clock."""
    predict: Predict | None = None
    """From a photo to joints in its pixels, where that is wanted."""


@dataclass(frozen=True)
class Loaded:
    """Time and memory up to the first result."""

    import_s: float
    load_s: float
    first_ms: float
    description: str
    facts: Mapping[str, Any]
    memory_mib: Mapping[str, float]
    boundaries: tuple[str, ...]


@dataclass(frozen=True)
class WarmUp:
    """The course of the warm-up."""

    state: State
    seconds: float
    latency_ms: float
    windows_ms: tuple[float, ...] = field(default=())
