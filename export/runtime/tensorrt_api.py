"""All of TensorRT's Python API that this project uses, as types.

The builder's worker and the runner are written against these and never against ``Any``, so mypy refuses a call that
is not declared here; ``test_tensorrt_api.py`` compares what is declared with the members that NVIDIA's bindings really
have, from TensorRT 10.3 to 11 and TensorRT-RTX. Names and numbers of positional arguments are NVIDIA's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Callable, Protocol, Type

RTX_ONLY = (
    "ComputeCapability",
    "CudaGraphStrategy",
    "DynamicShapesKernelSpecializationStrategy",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ICudaEngine.create_runtime_config",
    "IRuntimeConfig",
)
"""Names that are used with TensorRT-RTX only. Some of it is in TensorRT 11 too, none of it in 10.3."""


class Enumerator(Protocol):
    """A value of an enumeration. Its number differs between versions, so only names are ever used."""

    @property
    def name(self) -> str: ...

    def __int__(self) -> int: ...


class ILogger(Protocol):
    """Base class of a logger; the library calls ``log`` from any of its threads."""

    ERROR: Enumerator
    INFO: Enumerator

    def log(self, severity: Enumerator, text: str, /) -> None: ...


class IProgressMonitor(Protocol):
    """Base class of a listener to a build; a step that does not return True cancels the build."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int, /) -> None: ...
    def step_complete(self, phase_name: str, step: int, /) -> bool: ...
    def phase_finish(self, phase_name: str, /) -> None: ...


class ITensor(Protocol):
    """An input or output of a network; a free dimension is -1."""

    name: str
    shape: Sequence[int]
    dtype: Enumerator


class ILayer(Protocol):
    """One layer of a network."""

    type: Enumerator

    @property
    def num_inputs(self) -> int: ...
    def get_input(self, index: int, /) -> ITensor | None: ...
    @property
    def num_outputs(self) -> int: ...
    def get_output(self, index: int, /) -> ITensor: ...


class INetworkDefinition(Protocol):
    """A network, which the parser fills."""

    @property
    def num_inputs(self) -> int: ...
    @property
    def num_outputs(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    def get_layer(self, index: int, /) -> ILayer: ...
    def get_input(self, index: int, /) -> ITensor: ...
    def get_output(self, index: int, /) -> ITensor: ...


class ParserError(Protocol):
    """Lives as long as its parser: reading it later is a segmentation fault."""

    def code(self) -> Enumerator: ...
    def desc(self) -> str: ...
    def node(self) -> int: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class OnnxParser(Protocol):
    """Returns False for a model that it cannot read, True for an empty file."""

    @property
    def num_errors(self) -> int: ...
    def parse(self, model: bytes, path: str, /) -> bool: ...
    def get_error(self, index: int, /) -> ParserError: ...


class IProfiler(Protocol):
    """Base class of a listener to the times of layers; called for each layer after each run."""

    def report_layer_time(self, layer_name: str, ms: float, /) -> None: ...


class IOptimizationProfile(Protocol):
    """The shapes that an engine takes."""

    def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...], /) -> None: ...


class ITimingCache(Protocol):
    """Timings of kernels, kept for later builds."""

    def serialize(self) -> IHostMemory: ...


class IBuilderConfig(Protocol):
    """Settings of a build; what is refused is refused by a returned False or -1 only."""

    builder_optimization_level: int
    profiling_verbosity: Enumerator
    hardware_compatibility_level: Enumerator
    progress_monitor: IProgressMonitor
    num_compute_capabilities: int

    def set_memory_pool_limit(self, pool: Enumerator, pool_size: int, /) -> None: ...
    def set_flag(self, flag: Enumerator, /) -> None: ...
    def clear_flag(self, flag: Enumerator, /) -> None: ...
    def get_flag(self, flag: Enumerator, /) -> bool: ...
    def add_optimization_profile(self, profile: IOptimizationProfile, /) -> int: ...
    def create_timing_cache(self, serialized_timing_cache: bytes, /) -> ITimingCache: ...
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool, /) -> bool: ...
    def get_timing_cache(self) -> ITimingCache: ...
    def set_compute_capability(self, compute_capability: Enumerator, index: int, /) -> bool: ...


class IHostMemory(Protocol):
    """A serialised engine, readable as bytes."""

    @property
    def nbytes(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


class Builder(Protocol):
    """Makes engines from networks."""

    def create_network(self, flags: int, /) -> INetworkDefinition: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig, /
    ) -> IHostMemory | None: ...


class IRuntimeConfig(Protocol):
    """Settings for running an engine with TensorRT-RTX."""

    cuda_graph_strategy: Enumerator
    dynamic_shapes_kernel_specialization_strategy: Enumerator


class IExecutionContext(Protocol):
    """An engine with the memory that one run at a time needs."""

    profiler: IProfiler

    def set_input_shape(self, name: str, shape: tuple[int, ...], /) -> bool: ...
    def get_tensor_shape(self, name: str, /) -> Sequence[int]: ...
    def set_tensor_address(self, name: str, memory: int, /) -> bool: ...
    def infer_shapes(self) -> list[str]: ...
    def execute_async_v3(self, stream_handle: int, /) -> bool: ...


class EngineInspector(Protocol):
    """Tells what an engine's layers are, as far as it was built with details."""

    def get_engine_information(self, format: Enumerator, /) -> str: ...


class ICudaEngine(Protocol):
    """A deserialised engine."""

    @property
    def num_io_tensors(self) -> int: ...
    def get_tensor_name(self, index: int, /) -> str: ...
    def get_tensor_mode(self, name: str, /) -> Enumerator: ...
    def get_tensor_dtype(self, name: str, /) -> Enumerator: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int, /) -> Sequence[Sequence[int]]: ...
    def create_engine_inspector(self) -> EngineInspector: ...
    def create_runtime_config(self) -> IRuntimeConfig: ...
    def create_execution_context(self, runtime_config: IRuntimeConfig = ..., /) -> IExecutionContext | None: ...


class Runtime(Protocol):
    """Reads engines. Without a driver that answers it crashes, or returns None."""

    engine_host_code_allowed: bool
    """Off by default; a version compatible engine holds code for the host and does not load without it."""

    def deserialize_cuda_engine(self, serialized_engine: bytes, /) -> ICudaEngine | None: ...


class BuilderFlag(Protocol):
    """Switches of a build."""

    TF32: Enumerator
    VERSION_COMPATIBLE: Enumerator


class HardwareCompatibilityLevel(Protocol):
    """Which GPUs beside the builder's own an engine runs on."""

    NONE: Enumerator
    AMPERE_PLUS: Enumerator


class ProfilingVerbosity(Protocol):
    """Levels of detail that an engine keeps of its layers."""

    DETAILED: Enumerator


class LayerInformationFormat(Protocol):
    """Formats of an inspector's report."""

    JSON: Enumerator


class MemoryPoolType(Protocol):
    """Kinds of memory whose size can be limited."""

    WORKSPACE: Enumerator


class NetworkDefinitionCreationFlag(Protocol):
    """Kinds of networks."""

    STRONGLY_TYPED: Enumerator


class ComputeCapability(Protocol):
    """Targets of TensorRT-RTX: SM75 and so on."""

    __members__: Mapping[str, Enumerator]


class CudaGraphStrategy(Protocol):
    """Strategies of TensorRT-RTX for CUDA graphs."""

    WHOLE_GRAPH_CAPTURE: Enumerator


class DynamicShapesKernelSpecializationStrategy(Protocol):
    """When TensorRT-RTX compiles kernels for the shapes that it meets."""

    EAGER: Enumerator


class DataType(Protocol):
    """Types of tensors."""

    FLOAT: Enumerator
    UINT8: Enumerator


class TensorIOMode(Protocol):
    """Directions of a tensor: input or output."""

    INPUT: Enumerator
    OUTPUT: Enumerator


MakeBuilder = Callable[[ILogger], Builder]
MakeParser = Callable[[INetworkDefinition, ILogger], OnnxParser]
MakeRuntime = Callable[[ILogger], Runtime]
LoggerClass = Type[ILogger]
MonitorClass = Type[IProgressMonitor]
ProfilerClass = Type[IProfiler]


class TensorRT(Protocol):
    """The module ``tensorrt``, or ``tensorrt_rtx``."""

    __version__: str

    def __hash__(self) -> int: ...

    Builder: MakeBuilder
    OnnxParser: MakeParser
    Runtime: MakeRuntime
    ILogger: LoggerClass
    IProgressMonitor: MonitorClass
    IProfiler: ProfilerClass
    BuilderFlag: BuilderFlag
    HardwareCompatibilityLevel: HardwareCompatibilityLevel
    LayerInformationFormat: LayerInformationFormat
    ProfilingVerbosity: ProfilingVerbosity
    MemoryPoolType: MemoryPoolType
    NetworkDefinitionCreationFlag: NetworkDefinitionCreationFlag
    ComputeCapability: ComputeCapability
    CudaGraphStrategy: CudaGraphStrategy
    DynamicShapesKernelSpecializationStrategy: DynamicShapesKernelSpecializationStrategy
    DataType: DataType
    TensorIOMode: TensorIOMode
