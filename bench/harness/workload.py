"""Workload of one worker process, and the messages that the worker sends back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.sessions.protocol import Session

HOST_E2E, HOST_NOCOPY, DEVICE = "host_e2e", "host_nocopy", "device"
"""``host_e2e``: wall clock around the call, NumPy to NumPy. ``host_nocopy``: the same on memory bound beforehand.
``device``: by the runtime's own clock."""

CONTROL = "#control"
"""Suffix of the control's name: A′, a second instance of the reference."""

Samples = dict[str, list[float]]
"""Boundary → latencies in ms."""

Predict = Callable[[Session, Callable[[str], None]], object]
"""(session, callback at the end of each stage) → joints in a photo; see ``bench.passes.image_to_joints``."""


@dataclass(frozen=True)
class Workload:
    """A session to load in a worker process; sent as a pickle."""

    name: str
    open: Callable[[], Session]
    precision: str = "fp32"
    modules: tuple[str, ...] = ()
    """Modules to import before loading, so that importing and loading are timed apart."""
    nocopy: bool = False
    """True: also time calls on memory that is bound beforehand."""
    gpu: bool = False
    """True: warm up longer, by the GPU's clock."""
    compiles: bool = False
    """True: loading or the first run may take minutes."""
    predict: Predict | None = None
    """Function from a photo to joints in its pixels."""

    @property
    def is_control(self) -> bool:
        """True for the second instance of the reference, which takes part in the rounds only."""
        return self.name.endswith(CONTROL)


@dataclass(frozen=True)
class Loaded:
    """Times up to the first result, and facts."""

    import_s: float
    load_s: float
    first_ms: float
    description: str
    facts: Mapping[str, Any]
    boundaries: tuple[str, ...]
