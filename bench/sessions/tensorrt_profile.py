"""What each layer of an engine takes, as TensorRT reports it to a listener. No GPU has run this yet."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import LayerTime
from export.runtime.tensorrt_api import IProfiler, TensorRT


class EngineProfiler:
    """An execution context with a listener. See ``Profiler``."""

    source = "TensorRT's IProfiler"

    def __init__(
        self, run: Callable[[NDArray[Any]], object], totals_ms: dict[str, float], made_from: Mapping[str, str]
    ) -> None:
        self._run, self._totals_ms, self._made_from = run, totals_ms, made_from
        self._runs = 0

    def run(self, images: NDArray[Any]) -> object:
        """See ``Profiler``."""
        self._runs += 1
        return self._run(images)

    def start(self) -> None:
        """See ``Profiler``."""
        self._runs = 0
        self._totals_ms.clear()

    def layers(self) -> list[LayerTime]:
        """See ``Profiler``."""
        totals = self._totals_ms.items()
        return [LayerTime(name, ms / self._runs, self._made_from.get(name, "")) for name, ms in totals]


def make_listener(trt: TensorRT, totals_ms: dict[str, float]) -> IProfiler:
    """Adds what it is told to ``totals_ms``, by the layer's name."""

    class Listener(trt.IProfiler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            totals_ms[layer_name] = totals_ms.get(layer_name, 0.0) + ms

    return Listener()


def read_origins(text: str) -> dict[str, str]:
    """``[ONNX Layer: a]\\x1e[ONNX Layer: b]``, the ``Metadata`` of the inspector's layers, as ``a, b``."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    layers = found.get("Layers", []) if isinstance(found, dict) else []
    told = {str(layer.get("Name")): str(layer.get("Metadata", "")) for layer in layers if isinstance(layer, dict)}
    return {name: ", ".join(_nodes(metadata)) for name, metadata in told.items() if metadata}


def _nodes(metadata: str) -> list[str]:
    pieces = (piece.strip().removeprefix("[").removesuffix("]") for piece in metadata.split("\x1e"))
    return [piece.removeprefix("ONNX Layer:").strip() for piece in pieces]
