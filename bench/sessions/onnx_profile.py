"""The time of each node in ONNX Runtime, from the profile that it writes."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import LayerTime
from export.runtime.onnx_runtime import open_session
from export.runtime.session import Model, model_bytes

NODE_SUFFIX = "_kernel_time"
CAST_PREFIX = "InsertedPrecisionFreeCast_"
SUFFIXES = ("_nchwc", "_bn", "_mul")
"""Suffixes that the optimiser adds to a tensor's name, to name the node that now computes it."""


class OnnxRuntimeProfiler:
    """A session of its own that keeps a record. See ``Profiler``."""

    source = "ONNX Runtime's profile"

    def __init__(self, model: Model, options: Any) -> None:
        import onnx

        self._folder = tempfile.TemporaryDirectory()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        self._session: Any = open_session(model, options)
        self._input = self._session.get_inputs()[0].name
        graph = onnx.load_from_string(model_bytes(model)).graph
        self._producers = {tensor: node.name for node in graph.node for tensor in node.output}
        self._unrecorded = self._runs = 0

    def run(self, images: NDArray[Any]) -> object:
        """See ``Profiler``."""
        self._runs += 1
        return self._session.run(None, {self._input: images})

    def start(self) -> None:
        """See ``Profiler``."""
        self._unrecorded = self._runs

    def layers(self) -> list[LayerTime]:
        """See ``Profiler``."""
        with self._folder:
            events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        return read_events(events, self._unrecorded, self._producers)


def read_events(events: list[dict[str, Any]], unrecorded: int, producers: Mapping[str, str]) -> list[LayerTime]:
    """Return means over all runs but the first ``unrecorded``, in the order of execution.

    Args:
        events: events of the profile; ``dur`` and ``ts`` are whole microseconds.
        unrecorded: number of runs that warmed up.
        producers: tensor → node of the file that computes it.
    """
    runs = sorted(event["ts"] for event in events if event["name"] == "model_run")[unrecorded:]
    nodes = [e for e in events if e["cat"] == "Node" and e["name"].endswith(NODE_SUFFIX) and e["ts"] >= runs[0]]
    totals: dict[str, float] = {}
    for event in sorted(nodes, key=lambda event: float(event["ts"])):
        name = event["name"].removesuffix(NODE_SUFFIX)
        totals[name] = totals.get(name, 0) + event["dur"]
    return [LayerTime(name, total / 1e3 / len(runs), origin(name, producers)) for name, total in totals.items()]


def origin(name: str, producers: Mapping[str, str]) -> str:
    """Return the node that computes the tensor in a name, ``conv2d_1`` in ``conv2d_1_nchwc``; empty without one."""
    tensor = name.removeprefix(CAST_PREFIX)
    for suffix in ("", *SUFFIXES):
        tensor = tensor.removesuffix(suffix)
        if tensor in producers:
            return producers[tensor]
    return ""
