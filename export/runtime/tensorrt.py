"""Sessions of engines: TensorRT and TensorRT-RTX on the first NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .engine_file import TENSORRT_RTX, Product, require_recent
from .errors import BadInput, CheckFailed, NotPossible
from .exchange import Exchange
from .gpu import Driver, Gpu
from .inspector import read_convolution_types
from .registry import load_library
from .session import INPUT, OUTPUT, Images, Joints
from .tensorrt_log import logger_of, relevant

if TYPE_CHECKING:
    from .tensorrt_api import ICudaEngine, IExecutionContext, ILogger, Runtime, TensorRT


class Engine(NamedTuple):
    """An engine that fits this machine, with the facts of its record."""

    content: bytes
    file: str
    """Name, for messages."""
    precision: str
    profile: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    """Smallest, usual and largest shape of the input."""
    version_compatible: bool
    rebuild: str
    """Command or step that builds it again, for messages."""

    @property
    def takes_pixels(self) -> bool:
        """True: the input is (N, S, S, 3) bytes; False: (N, 3, S, S) normalised float32."""
        return self.profile[2][-1] == 3


class EngineSession:
    """One engine in one execution context, with memory for its largest batch.

    Args:
        engine: the engine.
        product: its library.
        gpu: the GPU that it runs on.
        graph: whether to launch all kernels as one CUDA graph. Kernels of small networks take longer to launch one by
            one than to compute.

    Raises:
        CheckFailed: the engine's inputs, outputs or shapes differ from its record.
        NotPossible: the library is not installed or too old, does not load the engine, or memory is too small.
    """

    def __init__(self, engine: Engine, product: Product, gpu: Gpu, *, graph: bool = False) -> None:
        self.precision, self.takes_pixels, self.graph = engine.precision, engine.takes_pixels, graph
        self._file, self._product, self._gpu = engine, product, gpu
        trt: TensorRT = load_library(product.module)
        self._trt, self.version = trt, str(trt.__version__)
        require_recent(product, self.version)
        self._logger, self._errors = logger_of(trt)
        self._errors.clear()
        compatible = engine.version_compatible
        self._runtime, loaded = deserialize(trt, self._logger, engine.content, version_compatible=compatible)
        if loaded is None:
            problem = f"{product.name} {self.version} does not load {engine.file}"
            raise NotPossible(problem, relevant(self._errors), f"build it again: {engine.rebuild}")
        self._engine: ICudaEngine | None = loaded
        check_interface(trt, loaded, engine)
        self._context: IExecutionContext | None = None
        self._exchange: Exchange | None = None
        self._shape: tuple[int, ...] | None = None
        self._replay: Callable[[], object] | None = None
        self._open_context()

    @property
    def runtime(self) -> str:
        """The runtime's name."""
        return self._product.module

    @property
    def largest_batch(self) -> int:
        """The profile's largest batch."""
        return self._file.profile[2][0]

    def run(self, images: Images) -> Joints:
        """Return the joints of one batch; joints that the engine does not write are NaN.

        Raises:
            BadInput: the engine takes images of another shape or type.
            CheckFailed: the launch failed.
        """
        return self._fitting(images).run(images, self._launch)

    def describe(self) -> str:
        """Return library, version, GPU, and whether a CUDA graph is used."""
        graph = "CUDA graph" if self.graph else "no CUDA graph"
        return f"{self._product.name} {self.version}, {self._gpu.in_full}, {graph}"

    def threads_used(self) -> None:
        """Return None, since engines run on the GPU."""
        return

    def convolution_types(self) -> dict[str, int]:
        """Count the types of convolutions' outputs from the engine's inspector; empty where it gives none."""
        return read_convolution_types(self.inspected())

    def inspected(self) -> str:
        """Return the JSON of the engine's inspector."""
        assert self._engine is not None
        return self._engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON)

    def close(self) -> None:
        """Release the engine and its memory."""
        self._replay = self._context = self._engine = None
        if self._exchange is not None:
            self._exchange.close()
        self._exchange = None

    def _open_context(self) -> None:
        """Open an execution context with memory for the largest batch."""
        assert self._engine is not None
        self._context = self._new_context(self._engine)
        self._shape = self._replay = None
        largest = self._file.profile[2]
        self._set_shape(largest)
        joints = tuple(self._context.get_tensor_shape(OUTPUT))
        if self._exchange is None:
            self._exchange = Exchange(Driver(), largest, joints, pixels=self.takes_pixels)
        for name, address in ((INPUT, self._exchange.images), (OUTPUT, self._exchange.joints)):
            self._require(self._context.set_tensor_address(name, address.value), f"the address of {name}")

    def _new_context(self, engine: ICudaEngine) -> IExecutionContext:
        if self._product == TENSORRT_RTX:
            config = engine.create_runtime_config()
            # By default other shapes run slower fallback kernels until better ones are compiled.
            strategies = self._trt.DynamicShapesKernelSpecializationStrategy
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            if self.graph:  # it compiles while it runs, so only the library itself can capture
                config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None:
            advice = "close other programs on the GPU, or build with a smaller largest batch"
            raise NotPossible(f"too little memory to run {self._file.file}", relevant(self._errors), advice)
        return context

    def _fitting(self, images: Images) -> Exchange:
        """Check images, set their shape, and return the memory."""
        if self._context is None or self._exchange is None:
            raise ValueError("the engine is closed")
        self._check_images(images)
        if self._shape != images.shape:
            self._shape = self._replay = None  # a graph has one shape; a refused shape is not the context's
            self._set_shape(images.shape)
            self._shape = tuple(images.shape)
        return self._exchange

    def _launch(self) -> None:
        if self._replay is not None:
            self._replay()
            return
        self._execute()
        if self.graph and self._product != TENSORRT_RTX:
            assert self._exchange is not None
            self._exchange.wait()  # the first launch of a shape allocates, which cannot be captured
            self._replay = self._exchange.capture(self._execute)

    def _execute(self) -> None:
        assert self._context is not None
        assert self._exchange is not None
        self._require(self._context.execute_async_v3(self._exchange.stream_handle), "the launch")

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        assert self._context is not None
        self._require(self._context.set_input_shape(INPUT, tuple(shape)), f"the shape {tuple(shape)}")
        self._require(not self._context.infer_shapes(), f"the shape {tuple(shape)}")

    def _require(self, accepted: bool, value: str) -> None:
        if accepted is not True:
            advice = f"build it again: {self._file.rebuild}"
            raise CheckFailed(f"{self._file.file} does not take {value}", relevant(self._errors), advice)

    def _check_images(self, images: Images) -> None:
        low, _, high = self._file.profile
        kind = "uint8" if self.takes_pixels else "float32"
        if images.dtype != kind or images.ndim != 4 or images.shape[1:] != high[1:]:
            advice = f"give (N, {', '.join(map(str, high[1:]))}) {kind}"
            raise BadInput("these images do not fit the engine", f"{images.shape} {images.dtype}", advice)
        if not low[0] <= len(images) <= high[0]:
            batches = f"{low[0]},{low[0]},{max(len(images), 1)}"
            advice = f"run {low[0]} to {high[0]} images at a time, or {self._file.rebuild} --batches {batches}"
            problem = f"a batch of {len(images)} is outside the engine's profile"
            raise BadInput(problem, f"{low[0]} to {high[0]}", advice)


def deserialize(
    trt: TensorRT, logger: ILogger, content: bytes, *, version_compatible: bool
) -> tuple[Runtime, ICudaEngine | None]:
    """Load an engine; return the library's runtime, which must outlive the engine, and the engine or None."""
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = version_compatible
    return runtime, runtime.deserialize_cuda_engine(content)


def check_interface(trt: TensorRT, engine: ICudaEngine, file: Engine) -> None:
    """Check that inputs, outputs, types and profile agree with the record.

    Raises:
        CheckFailed: they do not.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    tensors = {name: (engine.get_tensor_mode(name), engine.get_tensor_dtype(name)) for name in names}
    kind = trt.DataType.UINT8 if file.takes_pixels else trt.DataType.FLOAT
    expected = {INPUT: (trt.TensorIOMode.INPUT, kind), OUTPUT: (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT)}
    advice = f"build it again: {file.rebuild}"
    if tensors != expected:
        detail = ", ".join(f"{name}: {mode.name} {dtype.name}" for name, (mode, dtype) in tensors.items())
        raise CheckFailed(f"{file.file} has other inputs or outputs than a pose network", detail, advice)
    shapes = tuple(tuple(shape) for shape in engine.get_tensor_profile_shape(INPUT, 0))
    if shapes != file.profile:
        detail = f"{shapes}, not {file.profile}"
        raise CheckFailed(f"{file.file} takes other shapes than its record says", detail, advice)
