"""Times of a model's layers, from a profiler, which slows the model down: nothing else is timed on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.passes.timing import time_runs
from bench.sessions.protocol import LayerTime, Profilable, Session
from export.common.errors import NotPossible


@dataclass(frozen=True)
class Profile:
    """The times of a model's layers."""

    source: str
    layers: tuple[LayerTime, ...]
    """In the order of execution."""
    calls_ms: tuple[float, ...]
    """Wall-clock time of each call behind the means."""


def take_profile(session: Session, inputs: Sequence[Any], warm_up: int, runs: int) -> Profile:
    """Run the session's profiler ``warm_up`` times unrecorded, then ``runs`` times, on the inputs in turn.

    Raises:
        NotPossible: the runtime cannot profile the model.
    """
    if not isinstance(session, Profilable):
        detail = f"{session.runtime} does not report the times of its layers"
        raise NotPossible("there is no profile", detail, "profile another runtime")
    profiler = session.profiler()
    calls = [partial(profiler.run, images) for images in inputs]
    time_runs(calls, warm_up)
    profiler.start()
    latencies = time_runs(calls, runs)
    return Profile(profiler.source, tuple(profiler.layers()), tuple(latencies))
