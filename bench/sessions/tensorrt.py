"""Engines of TensorRT and TensorRT-RTX, with the additions that a benchmark needs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.engine_file import REBUILD, check_engine, require_gpu, require_version
from bench.sessions.gpu_boundaries import GpuBoundaries
from bench.sessions.protocol import LayerTime, Profiler
from export.engine.layers import inspect_engine, require_precision
from export.engine.record import EngineRecord
from export.runtime.engine_file import TENSORRT_RTX, Product
from export.runtime.exchange import BOUNDARIES
from export.runtime.gpu import first_gpu
from export.runtime.inspector import inspector_layers
from export.runtime.registry import load_library
from export.runtime.tensorrt import Engine, EngineSession
from export.runtime.tensorrt_api import IProfiler, TensorRT


class TensorRTEngine(EngineSession, GpuBoundaries):
    """The session of an engine, with bound and pinned memory, its own clock, facts and a profile.

    Raises:
        BadInput: the file is no engine of this runtime, or not the one that its record describes.
        NotPossible: the library, its version, or this machine's GPU is not the engine's.
        CheckFailed: the engine does not have the inputs, outputs and shapes that its record promises, or computes in
            another precision.
    """

    def __init__(self, path: Path, product: Product, *, graph: bool = False) -> None:
        self._path, self._record = path, check_engine(path, product)
        require_version(path, self._record, product, str(load_library(product.module).__version__))
        gpu = first_gpu()
        require_gpu(path, self._record, gpu)
        super().__init__(engine_of(path, self._record), product, gpu, graph=graph)
        assert self._engine is not None
        counts = self._record.convolutions
        self.layers = inspect_engine(
            self._trt, self._engine, self.precision, tf32=self._record.tf32, convolutions=counts
        )
        require_precision(path, self.layers)

    @property
    def runtime(self) -> str:
        """The runtime's name on the command line."""
        return self._product.option

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``. Types come from the inspector; where it reports none, from the network that was built.

        The latter is a promise and no proof, so ``precision_used`` is None then.
        """
        record, inspected = self._record, self.layers.has_types
        kinds = self.layers.types if inspected else {"CONVOLUTION": record.layer_types.get("CONVOLUTION", {})}
        counts = "; ".join(f"{kind}: {_counted(types)}" for kind, types in kinds.items())
        source = "the engine's inspector"
        if not inspected:
            source = "the inspector reports no types; the strongly typed network had"
        options: dict[str, Any] = {"cuda_graph": self.graph, "tf32": record.tf32, "boundaries": BOUNDARIES}
        if self._product == TENSORRT_RTX:
            options["dynamic_shapes_kernel_specialization_strategy"] = "EAGER"
            options["runtime_cache"] = "none: every start is cold, kernels are compiled when a shape is first run"
        engine = {"path": self._path.name, "sha256": record.engine_sha256, "size_bytes": record.size_bytes}
        return {
            "device": str(self._gpu),
            "precision_used": self.precision if inspected else None,
            "proof": f"{source}: {counts}",
            "threads": None,
            "versions": {self._product.option: self.version},
            "options": options,
            "engine": engine | {"onnx_sha256": record.onnx_sha256, "profile": list(record.profile.max)},
            "problems": ["the engine was built with TF32"] if record.tf32 else [],
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``: a new context without a CUDA graph. No GPU has run it yet."""
        self.graph = False
        self._open_context()
        assert self._context is not None
        totals_ms: dict[str, float] = {}
        self._context.profiler = make_listener(self._trt, totals_ms)
        return EngineProfiler(self.run, totals_ms, read_origins(self.inspected()))


class EngineProfiler:
    """An execution context with a listener. See ``Profiler``."""

    source = "TensorRT's IProfiler"

    def __init__(
        self, run: Callable[[NDArray[Any]], object], totals_ms: dict[str, float], origins: Mapping[str, str]
    ) -> None:
        self._run, self._totals_ms, self._origins = run, totals_ms, origins
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
        return [LayerTime(name, ms / self._runs, self._origins.get(name, "")) for name, ms in totals]


def make_listener(trt: TensorRT, totals_ms: dict[str, float]) -> IProfiler:
    """Return a listener that adds the time of each layer to ``totals_ms``."""

    class Listener(trt.IProfiler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            totals_ms[layer_name] = totals_ms.get(layer_name, 0.0) + ms

    return Listener()


def read_origins(text: str) -> dict[str, str]:
    r"""Read the ONNX nodes of each layer from the inspector's JSON.

    ``Metadata`` such as ``[ONNX Layer: a]\x1e[ONNX Layer: b]`` becomes ``a, b``.
    """
    layers = [layer for layer in inspector_layers(text) if isinstance(layer, dict)]
    metadata = {str(layer.get("Name")): str(layer.get("Metadata", "")) for layer in layers}
    return {name: ", ".join(_nodes(nodes)) for name, nodes in metadata.items() if nodes}


def engine_of(path: Path, record: EngineRecord) -> Engine:
    """Return the engine in a file, described by its record."""
    profile = (record.profile.min, record.profile.opt, record.profile.max)
    return Engine(path.read_bytes(), str(path), record.precision, profile, record.version_compatible, REBUILD)


def _nodes(metadata: str) -> list[str]:
    pieces = (piece.strip().removeprefix("[").removesuffix("]") for piece in metadata.split("\x1e"))
    return [piece.removeprefix("ONNX Layer:").strip() for piece in pieces]


def _counted(types: Mapping[str, int]) -> str:
    """Return ``65 fp16, 3 fp32``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(types.items())) or "none"
