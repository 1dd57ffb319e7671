"""Fake TensorRT in Python. Its engines are a header, the profile and an ONNX file, which ONNX Runtime runs.

It is the only fake, for this project and for bundles. It has only members that TensorRT has (see
``tests/export/runtime/test_tensorrt_api.py``), and reads and writes the memory at the addresses that it gets. ``RTX``
turns it into TensorRT-RTX. Each environment variable ``FAKE_…`` plants a defect.
"""

import ctypes
import json
import math
import os
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

__version__ = os.environ.get("FAKE_VERSION", "10.3.0.26")

KINDS = {"Conv": "CONVOLUTION", "Softmax": "SOFTMAX", "ReduceSum": "REDUCE"}
KINDS |= {"QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "MatMul": "MATRIX_MULTIPLY"}
TYPES = {1: "FLOAT", 3: "INT8", 10: "HALF", 16: "BF16"}
RTX = False
CALLS: list[str] = []
"""Shapes that were set and launches, in their order."""
CONFIGS: list["IRuntimeConfig"] = []
"""All runtime configurations."""


class Enumerator:
    """A value of an enumeration."""

    def __init__(self, name: str, number: int = 0) -> None:
        self.name, self.number = name, number

    def __int__(self) -> int:
        return self.number


class ILogger:
    """Base class of a logger."""

    ERROR, INFO = Enumerator("ERROR", 1), Enumerator("INFO", 3)

    def log(self, severity: Any, text: str, /) -> None:
        raise AssertionError("a logger is derived from this one")


class INetworkDefinition:
    """A parsed ONNX file."""

    model: Any = None
    content = b""

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    @property
    def num_outputs(self) -> int:
        return len(self.model.graph.output)

    @property
    def num_layers(self) -> int:
        return len(self.model.graph.node)

    def get_input(self, index: int, /) -> Any:
        value = self.model.graph.input[index]
        shape = tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)
        return SimpleNamespace(name=value.name, shape=shape)

    def get_output(self, index: int, /) -> Any:
        return SimpleNamespace(name=self.model.graph.output[index].name)

    def get_layer(self, index: int, /) -> Any:
        """Return a layer; weights that are constants are no inputs."""
        node, graph = self.model.graph.node[index], self.model.graph
        types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
        constants = {tensor.name: tensor.data_type for tensor in graph.initializer}

        def tensor(name: str) -> Any:
            return SimpleNamespace(name=name, dtype=Enumerator(TYPES.get((types | constants).get(name, 0), "OTHER")))

        kind = KINDS.get(node.op_type, "OTHER")
        inputs = [name for name in node.input if name not in constants or kind == "DEQUANTIZE"]
        return SimpleNamespace(
            type=Enumerator(kind),
            num_inputs=len(inputs),
            num_outputs=1,
            get_input=lambda which: tensor(inputs[which]),
            get_output=lambda which: tensor(node.output[which]),
        )


class OnnxParser:
    """A parser of ONNX files."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self.network = network

    @property
    def num_errors(self) -> int:
        return int("FAKE_REFUSES_MODEL" in os.environ)

    def get_error(self, index: int, /) -> Any:
        node = {"node": lambda: -1, "node_name": str, "node_operator": str}
        return SimpleNamespace(desc=lambda: "planted refusal", code=lambda: Enumerator("INVALID_NODE"), **node)

    def parse(self, model: bytes, path: str, /) -> bool:
        self.network.content = model
        self.network.model = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
        return self.num_errors == 0


class IBuilderConfig:
    """Settings of a build."""

    def __init__(self) -> None:
        self.flags = {"TF32"}  # on by default, as in TensorRT
        self.builder_optimization_level = 3
        self.profiling_verbosity: Any = None
        self.hardware_compatibility_level: Any = None
        self.num_compute_capabilities = 0
        self.profiles: list[Any] = []

    def set_memory_pool_limit(self, pool: Any, pool_size: int, /) -> None:
        pass

    def set_flag(self, flag: Any, /) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any, /) -> None:
        if "FAKE_KEEPS_TF32" not in os.environ:
            self.flags.discard(flag.name)

    def get_flag(self, flag: Any, /) -> bool:
        return flag.name in self.flags

    def add_optimization_profile(self, profile: Any, /) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_compute_capability(self, compute_capability: Any, index: int, /) -> bool:
        return index < self.num_compute_capabilities


class IOptimizationProfile:
    """Shapes that an engine takes."""

    def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...], /) -> None:
        self.shapes = (min, opt, max)


class Builder:
    """A builder without a BF16 kernel, so that one of the builds fails."""

    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int, /) -> INetworkDefinition:
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig, /) -> memoryview | None:
        if "BF16" in {network.get_layer(index).get_output(0).dtype.name for index in range(network.num_layers)}:
            self.logger.log(ILogger.ERROR, "planted: no BF16 kernel")
            return None
        if "FAKE_BUILDER_DIES" in os.environ:
            print("planted: last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), int(os.environ["FAKE_BUILDER_DIES"]))
        version = bytes(int(part) for part in __version__.split("."))
        shapes = np.array(config.profiles[0].shapes, "<i4").tobytes()
        return memoryview((b"vtrt" if RTX else b"ftrt") + bytes(20) + version + shapes + network.content)


class IProfiler:
    """Base class of a profiler."""

    def report_layer_time(self, layer_name: str, ms: float, /) -> None:
        raise AssertionError("a listener is derived from this one")


class IRuntimeConfig:
    """Settings for running an engine with TensorRT-RTX."""

    cuda_graph_strategy: Any = None
    dynamic_shapes_kernel_specialization_strategy: Any = None


class EngineInspector:
    """An inspector of an engine's layers."""

    def get_engine_information(self, format: Any, /) -> str:
        """Return one convolution in half, unless another text is planted."""
        assert format.name == "JSON"
        default = '{"Layers": [{"LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": "Half"}]}]}'
        return os.environ.get("FAKE_INSPECTED", default)


class IExecutionContext:
    """An engine with memory."""

    profiler: Any = None

    def __init__(self, engine: "ICudaEngine") -> None:
        self.engine = engine
        self.shape: tuple[int, ...] = ()
        self.launches = 0
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...], /) -> bool:
        low, _, high = self.engine.get_tensor_profile_shape(name, 0)
        self.shape = tuple(shape)
        CALLS.append(f"shape {shape[0]}")
        largest = int(os.environ.get("FAKE_LARGEST_BATCH", high[0]))
        return shape[0] <= largest and all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str, /) -> tuple[int, ...]:
        joints = tuple(self.engine.session.get_outputs()[0].shape[1:])
        return self.shape if name == "image" else (self.shape[0], *joints)

    def set_tensor_address(self, name: str, memory: int, /) -> bool:
        self.addresses[name] = memory
        return isinstance(memory, int) and "FAKE_REFUSES_ADDRESSES" not in os.environ

    def infer_shapes(self) -> list[str]:
        return []

    def execute_async_v3(self, stream_handle: int, /) -> bool:
        CALLS.append("launch")
        if "FAKE_LAUNCHES_NOTHING" in os.environ:
            return True
        if "FAKE_BREAKS" in os.environ:
            raise RuntimeError("planted\nand a long story")
        self.launches += 1
        if self.launches > int(os.environ.get("FAKE_LAUNCHES", "1000000")):
            return False
        pixels = self.engine.get_tensor_dtype("image") is DataType.UINT8
        images = _at(self.addresses["image"], self.shape, ctypes.c_uint8 if pixels else ctypes.c_float)
        joints = _at(self.addresses["joints"], self.get_tensor_shape("joints"), ctypes.c_float)
        written = int(os.environ.get("FAKE_WRITES", len(images)))
        joints[:written] = self.engine.session.run(None, {"image": images})[0][:written]
        if self.profiler is not None:
            for layer, ms in json.loads(os.environ.get("FAKE_LAYER_MS", "{}")).items():
                self.profiler.report_layer_time(layer, ms)
        return stream_handle == 77


class ICudaEngine:
    """A loaded engine."""

    def __init__(self, model: bytes, shapes: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.shapes = shapes

    num_io_tensors = 2

    def get_tensor_name(self, index: int, /) -> str:
        return (os.environ.get("FAKE_INPUT_NAME", "image"), "joints")[index]

    def get_tensor_mode(self, name: str, /) -> Any:
        return TensorIOMode.OUTPUT if name == "joints" else TensorIOMode.INPUT

    def get_tensor_dtype(self, name: str, /) -> Any:
        if name == "joints":
            return DataType.FLOAT
        kind = DataType.UINT8 if self.session.get_inputs()[0].type == "tensor(uint8)" else DataType.FLOAT
        return getattr(DataType, os.environ.get("FAKE_INPUT_TYPE", kind.name))

    def get_tensor_profile_shape(self, name: str, profile_index: int, /) -> Any:
        return self.shapes

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()

    def create_runtime_config(self) -> IRuntimeConfig:
        assert RTX
        CONFIGS.append(IRuntimeConfig())
        return CONFIGS[-1]

    def create_execution_context(self, config: Any = None, /) -> IExecutionContext | None:
        assert (config is not None) == RTX
        assert config is None or config.dynamic_shapes_kernel_specialization_strategy == "eager"
        return None if "FAKE_HAS_NO_ROOM" in os.environ else IExecutionContext(self)


class Runtime:
    """A loader of engines."""

    engine_host_code_allowed = True

    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes, /) -> ICudaEngine | None:
        if "FAKE_LOADS_NOTHING" in os.environ:
            self.logger.log(ILogger.ERROR, "planted refusal")
            return None
        shapes = np.frombuffer(serialized_engine[28 : 28 + 48], "<i4").reshape(3, 4).tolist()
        return ICudaEngine(serialized_engine[28 + 48 :], shapes)


NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=Enumerator("STRONGLY_TYPED", 1))
if __version__.startswith("8."):
    del NetworkDefinitionCreationFlag.STRONGLY_TYPED
BuilderFlag = SimpleNamespace(TF32=Enumerator("TF32"), VERSION_COMPATIBLE=Enumerator("VERSION_COMPATIBLE"))
MemoryPoolType = SimpleNamespace(WORKSPACE=Enumerator("WORKSPACE"))
ProfilingVerbosity = SimpleNamespace(DETAILED=Enumerator("DETAILED"))
HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS=Enumerator("AMPERE_PLUS"))
LayerInformationFormat = SimpleNamespace(JSON=Enumerator("JSON"))
TensorIOMode = SimpleNamespace(INPUT=Enumerator("INPUT"), OUTPUT=Enumerator("OUTPUT"))
DataType = SimpleNamespace(**{name: Enumerator(name) for name in ("FLOAT", "HALF", "UINT8")})
DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
ComputeCapability = SimpleNamespace(__members__={"SM87": Enumerator("SM87")})


def _at(address: int, shape: tuple[int, ...], kind: Any) -> Any:
    memory = (kind * math.prod(shape)).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(shape)
