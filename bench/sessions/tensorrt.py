"""Engines of TensorRT and TensorRT-RTX, with the additions that a benchmark needs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.engine_file import REBUILD, check_engine, require_gpu, require_version
from bench.sessions.protocol import Profiler
from export.engine.build import EngineRecord
from export.engine.layers import inspect_engine, require_kept
from export.engine.plan import TENSORRT_RTX, Backend
from export.runtime.exchange import BOUNDARIES
from export.runtime.gpu import first_gpu
from export.runtime.registry import load_library
from export.runtime.tensorrt import Engine, EngineSession


class TensorRTEngine(EngineSession):
    """The session of an engine, with bound and pinned memory, its own clock, facts and a profile.

    Raises:
        BadInput: the file is no engine of this runtime, or not what its record says.
        NotPossible: the library, its version, or this machine's GPU is not the engine's.
        CheckFailed: the engine does not have the inputs, outputs and shapes that its record promises, or computes in
            another precision.
    """

    def __init__(self, path: Path, backend: Backend, *, graph: bool = False) -> None:
        self._path, self._backend, self._record = path, backend, check_engine(path, backend)
        require_version(path, self._record, backend, str(load_library(backend.module).__version__))
        gpu = first_gpu()
        require_gpu(path, self._record, gpu)
        super().__init__(engine_of(path, self._record), backend.library, gpu, graph=graph)
        assert self._engine is not None
        counts = self._record.convolutions
        self.layers = inspect_engine(
            self._trt, self._engine, self.precision, tf32=self._record.tf32, convolutions=counts
        )
        require_kept(path, self.layers)

    @property
    def runtime(self) -> str:
        """The runtime's name on the command line."""
        return self._backend.name

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """See ``Bindable``."""
        return self._fitting(images).resident(images, self._launch)

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``Pinning``."""
        assert self._exchange is not None
        return self._exchange.pinned(images)

    def device_ms(self) -> float:
        """See ``SelfTiming``: CUDA events around the last launch."""
        assert self._exchange is not None
        return self._exchange.device_ms()

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``. Types are the inspector's; without its word there is only the network's promise."""
        record, told = self._record, self.layers.told
        kinds = self.layers.types if told else {"CONVOLUTION": record.layer_types.get("CONVOLUTION", {})}
        counted = "; ".join(f"{kind}: {_counted(types)}" for kind, types in kinds.items())
        by = "the engine's inspector" if told else "the inspector tells no types; the strongly typed network had"
        options: dict[str, Any] = {"cuda_graph": self.graph, "tf32": record.tf32, "boundaries": BOUNDARIES}
        if self._backend == TENSORRT_RTX:
            options["dynamic_shapes_kernel_specialization_strategy"] = "EAGER"
            options["runtime_cache"] = "none: every start is cold, kernels are compiled when a shape is first run"
        engine = {"path": self._path.name, "sha256": record.engine_sha256, "size_bytes": record.size_bytes}
        return {
            "device": str(self._gpu),
            "precision_used": self.precision if told else None,
            "proof": f"{by}: {counted}",
            "threads": None,
            "versions": {self._backend.name: self.version},
            "options": options,
            "engine": engine | {"onnx_sha256": record.onnx_sha256, "profile": list(record.profile.max)},
            "problems": ["the engine was built with TF32"] if record.tf32 else [],
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``: a new context, whose kernels are launched one by one. No GPU has run it yet."""
        from bench.sessions.tensorrt_profile import EngineProfiler, make_listener, read_origins

        self.graph = False
        self._open_context()
        assert self._context is not None
        totals_ms: dict[str, float] = {}
        self._context.profiler = make_listener(self._trt, totals_ms)
        return EngineProfiler(self.run, totals_ms, read_origins(self.inspected()))


def engine_of(path: Path, record: EngineRecord) -> Engine:
    """Return the engine in a file, with what its record says of it."""
    profile = (record.profile.min, record.profile.opt, record.profile.max)
    return Engine(path.read_bytes(), str(path), record.precision, profile, record.version_compatible, REBUILD)


def _counted(types: Mapping[str, int]) -> str:
    """Return ``65 fp16, 3 fp32``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(types.items())) or "none"
