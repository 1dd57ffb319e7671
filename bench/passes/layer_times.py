"""What the layers of a backend take: run it where it tells, which slows it down, and for nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.passes.timing import time_runs
from bench.sessions.protocol import LayerTime, Profilable, Session
from export.common.errors import NotPossible


@dataclass(frozen=True)
class Profile:
    """Where the time goes."""

    source: str
    layers: tuple[LayerTime, ...]
    """In the order of execution."""
    calls_ms: tuple[float, ...]
    """Wall clock around each of the calls that the layers' times are means over."""


def take_profile(backend: Session, inputs: Sequence[Any], warm_up: int, runs: int) -> Profile:
    """Run the backend's profiler ``warm_up`` times unrecorded, then ``runs`` times.

    Args:
        backend: loaded.
        inputs: shown in turn.
        warm_up: so many runs are not recorded.
        runs: so many are.

    Raises:
        NotPossible: the backend does not tell.
    """
    if not isinstance(backend, Profilable):
        do = "profile another runtime"
        raise NotPossible("there is no profile", f"{backend.runtime} does not tell what its layers take", do)
    profiler = backend.profiler()
    calls = [partial(profiler.run, images) for images in inputs]
    time_runs(calls, warm_up)
    profiler.start()
    taken = time_runs(calls, runs)
    return Profile(profiler.source, tuple(profiler.layers()), tuple(taken))
