"""What each node takes in OpenVINO, from its performance counters."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import LayerTime


class OpenVinoProfiler:
    """A model compiled with counters. See ``Profiler``."""

    source = "OpenVINO's performance counters"

    def __init__(self, compiled: Any) -> None:
        self._request: Any = compiled.create_infer_request()
        ops = compiled.get_runtime_model().get_ordered_ops()
        self._origins = {op.get_friendly_name(): op.get_rt_info()["originalLayersNames"].astype(str) for op in ops}
        self._runs, self._unrecorded = 0, 0
        self._before: dict[str, float] = {}

    def run(self, images: NDArray[Any]) -> object:
        """See ``Profiler``."""
        self._runs += 1
        return self._request.infer([images], share_inputs=True)

    def start(self) -> None:
        """See ``Profiler``."""
        self._before, self._unrecorded = self._averages_ms(), self._runs

    def layers(self) -> list[LayerTime]:
        """See ``Profiler``."""
        means = recorded_means(self._before, self._unrecorded, self._averages_ms(), self._runs)
        return [LayerTime(name, ms, self._origins.get(name, "")) for name, ms in means.items()]

    def _averages_ms(self) -> dict[str, float]:
        """Of the nodes that were executed, since the model was compiled."""
        return averages_ms(self._request.profiling_info)


def averages_ms(counters: Sequence[Any]) -> dict[str, float]:
    """Node → ms, in the order of execution; what was fused into another is listed too, as not executed."""
    found: dict[str, float] = {}
    for counter in counters:
        if counter.status.name == "EXECUTED":
            ms = counter.real_time.total_seconds() * 1e3
            found[counter.node_name] = found.get(counter.node_name, 0.0) + ms
    return found


def recorded_means(before: dict[str, float], unrecorded: int, after: dict[str, float], runs: int) -> dict[str, float]:
    """Means over the runs after the first ``unrecorded`` of ``runs``.

    The counters are averages over all runs since the model was compiled, rounded down to a microsecond, and the first
    runs are slow. From two averages that of the runs between them follows; rounding may make it a little less than 0.
    """
    return {
        name: max(0.0, (runs * ms - unrecorded * before.get(name, 0.0)) / (runs - unrecorded))
        for name, ms in after.items()
    }
