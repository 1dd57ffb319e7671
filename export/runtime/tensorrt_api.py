"""The part of TensorRT's Python API that this project uses, as types.

The code is written against these classes and never against ``Any``, so mypy refuses a call that is not declared here.
``test_tensorrt_api.py`` compares the declarations with the members of NVIDIA's bindings, from TensorRT 10.3 to 11 and
TensorRT-RTX. Calls are declared as ``Callable`` attributes, as NVIDIA documents them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Callable, Protocol, Tuple, Type

RTX_ONLY = (
    "ComputeCapability",
    "CudaGraphStrategy",
    "DynamicShapesKernelSpecializationStrategy",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ICudaEngine.create_runtime_config",
    "IRuntimeConfig",
)
"""Names that are used with TensorRT-RTX only. TensorRT 11 has some of them, 10.3 none."""

Shape = Tuple[int, ...]


class Enumerator(Protocol):
    """A value of an enumeration. Its number differs between versions, so only names are used."""

    name: str

    def __int__(self) -> int: ...


class ILogger(Protocol):
    """Base class of a logger; the library calls ``log`` from any of its threads."""

    ERROR: Enumerator
    INFO: Enumerator

    log: Callable[[Enumerator, str], None]


class ITensor(Protocol):
    """An input or output of a network; a free dimension is -1."""

    name: str
    shape: Sequence[int]
    dtype: Enumerator


class ILayer(Protocol):
    """One layer of a network."""

    type: Enumerator

    num_inputs: int
    get_input: Callable[[int], ITensor | None]
    num_outputs: int
    get_output: Callable[[int], ITensor]


class INetworkDefinition(Protocol):
    """A network, which the parser fills."""

    num_inputs: int
    num_outputs: int
    num_layers: int
    get_layer: Callable[[int], ILayer]
    get_input: Callable[[int], ITensor]
    get_output: Callable[[int], ITensor]


class ParserError(Protocol):
    """An error of a parser; reading it after its parser is gone is a segmentation fault."""

    code: Callable[[], Enumerator]
    desc: Callable[[], str]
    node: Callable[[], int]
    node_name: Callable[[], str]
    node_operator: Callable[[], str]


class OnnxParser(Protocol):
    """A parser of ONNX models; ``parse`` returns False for an unreadable model, True for an empty file."""

    num_errors: int
    parse: Callable[[bytes, str], bool]
    get_error: Callable[[int], ParserError]


class IProfiler(Protocol):
    """Base class of a listener that gets the time of each layer after each run."""

    report_layer_time: Callable[[str, float], None]


class IOptimizationProfile(Protocol):
    """Shapes that an engine takes: smallest, usual and largest."""

    set_shape: Callable[[str, Shape, Shape, Shape], None]


class IBuilderConfig(Protocol):
    """Settings of a build; a refusal is only a returned False or -1."""

    builder_optimization_level: int
    profiling_verbosity: Enumerator
    hardware_compatibility_level: Enumerator
    num_compute_capabilities: int

    set_memory_pool_limit: Callable[[Enumerator, int], None]
    set_flag: Callable[[Enumerator], None]
    clear_flag: Callable[[Enumerator], None]
    get_flag: Callable[[Enumerator], bool]
    add_optimization_profile: Callable[[IOptimizationProfile], int]
    set_compute_capability: Callable[[Enumerator, int], bool]


class IHostMemory(Protocol):
    """A serialised engine, readable as bytes."""

    nbytes: int

    def __buffer__(self, flags: int, /) -> memoryview: ...


class Builder(Protocol):
    """A builder of engines from networks."""

    create_network: Callable[[int], INetworkDefinition]
    create_builder_config: Callable[[], IBuilderConfig]
    create_optimization_profile: Callable[[], IOptimizationProfile]
    build_serialized_network: Callable[[INetworkDefinition, IBuilderConfig], IHostMemory | None]


class IRuntimeConfig(Protocol):
    """Settings for running an engine with TensorRT-RTX."""

    cuda_graph_strategy: Enumerator
    dynamic_shapes_kernel_specialization_strategy: Enumerator


class IExecutionContext(Protocol):
    """An engine with the memory that one run at a time needs."""

    profiler: IProfiler

    set_input_shape: Callable[[str, Shape], bool]
    get_tensor_shape: Callable[[str], Sequence[int]]
    set_tensor_address: Callable[[str, int], bool]
    infer_shapes: Callable[[], list[str]]
    execute_async_v3: Callable[[int], bool]


class EngineInspector(Protocol):
    """An inspector of an engine's layers, which have types only if the engine was built with details."""

    get_engine_information: Callable[[Enumerator], str]


class ICudaEngine(Protocol):
    """A deserialised engine."""

    num_io_tensors: int
    get_tensor_name: Callable[[int], str]
    get_tensor_mode: Callable[[str], Enumerator]
    get_tensor_dtype: Callable[[str], Enumerator]
    get_tensor_profile_shape: Callable[[str, int], Sequence[Sequence[int]]]
    create_engine_inspector: Callable[[], EngineInspector]
    create_runtime_config: Callable[[], IRuntimeConfig]

    def create_execution_context(self, runtime_config: IRuntimeConfig = ..., /) -> IExecutionContext | None:
        """Return a context; None: there is too little memory."""


class Runtime(Protocol):
    """A loader of engines; without a working driver it crashes or returns None."""

    engine_host_code_allowed: bool
    """Off by default; a version compatible engine holds code for the host and does not load without it."""

    deserialize_cuda_engine: Callable[[bytes], ICudaEngine | None]


class BuilderFlag(Protocol):
    """Switches of a build."""

    TF32: Enumerator
    VERSION_COMPATIBLE: Enumerator


class HardwareCompatibilityLevel(Protocol):
    """GPUs, beside the builder's own, that an engine runs on."""

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
    """Times at which TensorRT-RTX compiles kernels for new shapes."""

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
ProfilerClass = Type[IProfiler]


class TensorRT(Protocol):
    """The module ``tensorrt``, or ``tensorrt_rtx``."""

    __version__: str

    def __hash__(self) -> int: ...

    Builder: MakeBuilder
    OnnxParser: MakeParser
    Runtime: MakeRuntime
    ILogger: LoggerClass
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
