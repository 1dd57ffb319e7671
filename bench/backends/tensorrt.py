"""Engines of TensorRT and TensorRT-RTX on an NVIDIA GPU."""

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.backends.cuda import Cuda
from bench.backends.engine_file import REBUILD, check_engine, require_gpu, require_version
from bench.backends.exchange import BOUNDARIES, Exchange, pinned_copy
from bench.backends.protocol import Joints, Profiler
from export.engine import EngineRecord
from export.engine_layers import inspect_engine, require_kept
from export.engine_plan import TENSORRT_RTX, Backend
from export.engine_worker import make_logger, relevant
from export.errors import BadInput, CheckFailed, NotPossible
from export.gpu import Gpu, default_gpu
from export.interface import INPUT, OUTPUT
from export.tensorrt_api import ICudaEngine, IExecutionContext, ILogger, TensorRT


class TensorRTEngine:
    """One engine in one execution context, with memory for its largest batch.

    ``graph``: launch all kernels as one CUDA graph. Small networks need it: launching their kernels one by one takes
    longer than computing them.

    Raises:
        BadInput: the file is no engine of this runtime, or not what its record says.
        NotPossible: the library, its version, or this machine's GPU is not the engine's.
        CheckFailed: the engine does not have the inputs, outputs and shapes that its record promises, or computes in
            another precision.
    """

    def __init__(self, path: Path, backend: Backend, *, graph: bool = False, cuda: Cuda | None = None) -> None:
        self.runtime, self.graph, self._path, self._backend = backend.name, graph, path, backend
        self._record = check_engine(path, backend)
        self.precision = self._record.precision
        self.takes_pixels = takes_pixels(self._record)
        trt = load_library(backend)
        self._version = str(trt.__version__)
        require_version(path, self._record, backend, self._version)
        self._gpu = first_gpu()
        require_gpu(path, self._record, self._gpu)
        self._cuda = cuda or Cuda()
        self._logger, self._errors = logger_of(trt)
        self._errors.clear()
        self._runtime = trt.Runtime(self._logger)  # the engine must not outlive it
        self._runtime.engine_host_code_allowed = self._record.version_compatible
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            seen = f"{relevant(self._errors)}; {self._record.status}, {self._record.package_version}"
            raise NotPossible(f"{backend.product} {self._version} does not load {path}", seen, f"here, {REBUILD}")
        self._engine: ICudaEngine | None = engine
        check_interface(trt, engine, self._record, path)
        counts = self._record.convolutions
        self.layers = inspect_engine(trt, engine, self.precision, tf32=self._record.tf32, convolutions=counts)
        require_kept(path, self.layers)
        self._context: IExecutionContext | None = self._new_context(trt, engine)
        self._allocate()
        self._shape: tuple[int, ...] | None = None
        self._replay: Callable[[], None] | None = None

    def _new_context(self, trt: TensorRT, engine: ICudaEngine) -> IExecutionContext:
        if self._backend == TENSORRT_RTX:
            config = engine.create_runtime_config()
            # By default other shapes run fallback kernels until better ones are compiled: no result to compare with.
            config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            if self.graph:  # this library compiles while it runs, so only it can say what may be captured
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None:
            do = "close what else uses the GPU, or build with a smaller largest batch"
            raise NotPossible(f"no room to run {self._path}", relevant(self._errors), do)
        return context

    def _allocate(self) -> None:
        assert self._context is not None
        largest = self._record.profile.max
        self._set_shape(largest)
        joints = tuple(self._context.get_tensor_shape(OUTPUT))
        self._exchange: Exchange | None = Exchange(self._cuda, largest, joints, pixels=self.takes_pixels)
        for name, tensor in ((INPUT, self._exchange.input), (OUTPUT, self._exchange.output)):
            assert tensor is not None
            self._require(self._context.set_tensor_address(name, tensor.data_ptr()), f"the address of {name}")

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Backend``.

        Raises:
            BadInput: images of another shape than the engine takes.
            CheckFailed: the engine failed, or left a joint without a finite value.
        """
        import numpy as np

        exchange, count = self._fitting(images), len(images)
        joints = exchange.run(images, self._launch)
        if not np.isfinite(joints).all():
            bad = int((~np.isfinite(joints)).reshape(count, -1).any(axis=1).sum())
            seen = f"{bad} of {count} poses; {relevant(self._errors)}"
            do = "look at the images; if they are finite, compare with --runtime onnxruntime"
            raise CheckFailed(f"{self._path} left joints without a finite value", seen, do)
        return joints

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """See ``Bindable``."""
        return self._fitting(images).resident(images, self._launch)

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``Pinning``."""
        return pinned_copy(self._cuda, images)

    def device_ms(self) -> float:
        """See ``SelfTiming``: CUDA events around the last launch."""
        assert self._exchange is not None
        return self._exchange.device_ms()

    @property
    def largest_batch(self) -> int:
        """See ``Limited``: the profile's."""
        return self._record.profile.max[0]

    def _fitting(self, images: NDArray[Any]) -> Exchange:
        """The memory, after the context was told the shape of these images."""
        if self._context is None or self._exchange is None:
            raise ValueError("the engine is closed")
        self._check_images(images)
        if self._shape != images.shape:
            self._shape = self._replay = None  # a graph is of one shape; one that is refused is not the context's
            self._set_shape(images.shape)
            self._shape = tuple(images.shape)
        return self._exchange

    def _launch(self) -> None:
        if self._replay is not None:
            self._replay()
            return
        self._execute(self._cuda.handle)
        if self.graph and self._backend != TENSORRT_RTX:
            self._cuda.wait()  # the first launch of a shape allocates, which cannot be captured
            self._replay = self._cuda.capture(self._execute)

    def _execute(self, stream: int) -> None:
        assert self._context is not None
        self._require(self._context.execute_async_v3(stream), "the launch")

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        assert self._context is not None
        self._require(self._context.set_input_shape(INPUT, tuple(shape)), f"the shape {tuple(shape)}")
        self._require(not self._context.infer_shapes(), f"the shape {tuple(shape)}")

    def _require(self, good: bool, what: str) -> None:
        if good is not True:
            raise CheckFailed(f"{self._path} does not take {what}", relevant(self._errors), REBUILD)

    def _check_images(self, images: NDArray[Any]) -> None:
        low, high = self._record.profile.min, self._record.profile.max
        kind = "uint8" if self.takes_pixels else "float32"
        if images.dtype != kind or images.ndim != 4 or images.shape[1:] != high[1:]:
            seen, do = f"{images.shape} {images.dtype}", f"give (N, {', '.join(map(str, high[1:]))}) {kind}"
            raise BadInput("these images do not fit the engine", seen, do)
        if not low[0] <= len(images) <= high[0]:
            do = f"run {low[0]} to {high[0]} images at a time, or export with --batches for more"
            raise BadInput(f"a batch of {len(images)} is outside the engine's profile", f"{low[0]} to {high[0]}", do)

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
            "versions": {self._backend.name: self._version},
            "options": options,
            "engine": engine | {"onnx_sha256": record.onnx_sha256, "profile": list(record.profile.max)},
            "problems": ["the engine was built with TF32"] if record.tf32 else [],
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``: a new context, whose kernels are launched one by one. No GPU has run it yet."""
        from bench.backends.tensorrt_profile import EngineProfiler, make_listener, origins

        assert self._engine is not None
        trt = load_library(self._backend)
        self.graph, self._replay, self._shape, self._context = False, None, None, None
        self._context = self._new_context(trt, self._engine)
        self._allocate()
        totals_ms: dict[str, float] = {}
        self._context.profiler = make_listener(trt, totals_ms)
        return EngineProfiler(self.run, totals_ms, origins(trt, self._engine))

    def describe(self) -> str:
        """See ``Backend``."""
        graph = "CUDA graph" if self.graph else "no CUDA graph"
        return f"{self._backend.product} {self._version}, {self._gpu}, {graph}"

    def close(self) -> None:
        """See ``Backend``."""
        self._replay = self._context = self._engine = self._exchange = None


def _counted(types: Mapping[str, int]) -> str:
    """``65 fp16, 3 fp32``."""
    return ", ".join(f"{count} {name}" for name, count in sorted(types.items())) or "none"


def load_library(backend: Backend) -> TensorRT:
    """The runtime's module.

    Raises:
        NotPossible: it is not installed, or does not load.
    """
    try:
        trt: TensorRT = importlib.import_module(backend.module)
    except (ImportError, OSError) as error:
        do = f"pip install {backend.name}, or choose another with --runtime"
        raise NotPossible(f"{backend.product} is not installed, or does not load", str(error), do) from error
    return trt


def first_gpu() -> Gpu:
    """The GPU that engines run on. TensorRT must not be asked: it crashes where no driver answers.

    Raises:
        NotPossible: there is none.
    """
    gpu, trouble = default_gpu()
    if gpu is None:
        do = "choose --runtime onnxruntime, or another machine"
        raise NotPossible("engines run on an NVIDIA GPU only", trouble, do)
    return gpu


def takes_pixels(record: EngineRecord) -> bool:
    """Whether the engine's input is (N, S, S, 3) bytes; the normalised one is (N, 3, S, S)."""
    return record.profile.max[-1] == 3


@cache
def logger_of(trt: TensorRT) -> tuple[ILogger, list[str]]:
    """The process's only logger of this library, which keeps the first that it is given, and the errors it heard."""
    errors: list[str] = []
    return make_logger(trt, lambda _: None, errors), errors


def check_interface(trt: TensorRT, engine: ICudaEngine, record: EngineRecord, path: Path) -> None:
    """See that inputs, outputs, types and profile are those of the record.

    Raises:
        CheckFailed: they are not.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    kinds = {name: (engine.get_tensor_mode(name), engine.get_tensor_dtype(name)) for name in names}
    kind = trt.DataType.UINT8 if takes_pixels(record) else trt.DataType.FLOAT
    want = {INPUT: (trt.TensorIOMode.INPUT, kind), OUTPUT: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT)}
    if kinds != want:
        seen = ", ".join(f"{name}: {mode.name} {dtype.name}" for name, (mode, dtype) in kinds.items())
        raise CheckFailed(f"{path} has other inputs or outputs than a pose network", seen, REBUILD)
    shapes = tuple(tuple(shape) for shape in engine.get_tensor_profile_shape(INPUT, 0))
    promised = (record.profile.min, record.profile.opt, record.profile.max)
    if shapes != promised:
        raise CheckFailed(f"{path} takes other shapes than its record says", f"{shapes}, not {promised}", REBUILD)
