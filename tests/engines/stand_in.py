"""A runtime made of Python. It has only members that TensorRT has, and works on real memory: it reads images and writes
joints at the addresses that the runner gives it.
"""

import ctypes
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.backends.tensorrt import TensorRTEngine
from export.engine_plan import TENSORRT_RTX, Backend
from export.tensorrt_api import IRuntimeConfig
from tests.engines.files import JOINTS, SHAPE
from tests.host_cuda import Host


class Enumerator:
    def __init__(self, name: str, number: int = 0) -> None:
        self.name, self.number = name, number

    def __int__(self) -> int:
        return self.number


FLOAT, HALF, UINT8, INPUT, OUTPUT = (Enumerator(name) for name in ("FLOAT", "HALF", "UINT8", "INPUT", "OUTPUT"))


class FakeLogger:
    ERROR, INFO = Enumerator("ERROR", 1), Enumerator("INFO", 3)

    def log(self, severity: Any, text: str, /) -> None:
        raise AssertionError("a logger is derived from this one")


class FakeConfig:
    cuda_graph_strategy: Any = None
    dynamic_shapes_kernel_specialization_strategy: Any = None


class FakeProfiler:
    def report_layer_time(self, layer_name: str, ms: float, /) -> None:
        raise AssertionError("a listener is derived from this one")


class FakeContext:
    """Joint (i, j) of an image is its mean, plus 3·i + j."""

    profiler: Any = None

    def __init__(self, world: "World") -> None:
        self.world = world
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()

    def set_input_shape(self, name: str, shape: tuple[int, ...], /) -> bool:
        low, _, high = self.world.profile
        self.shape = shape
        self.world.calls.append(f"shape {shape[0]}")
        return name == "image" and all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str, /) -> Sequence[int]:
        return self.shape if name == "image" else (self.shape[0], *JOINTS)

    def set_tensor_address(self, name: str, memory: int, /) -> bool:
        self.addresses[name] = memory
        return self.world.takes_addresses

    def infer_shapes(self) -> list[str]:
        return []

    def execute_async_v3(self, stream_handle: int, /) -> bool:
        assert stream_handle == Host.handle
        self.world.calls.append("launch")
        if self.world.writes:
            images = at(self.addresses["image"], self.shape, pixels=self.world.tensors["image"][1] is UINT8)
            joints = at(self.addresses["joints"], (self.shape[0], *JOINTS))
            joints[: self.world.writes] = expected(images)[: self.world.writes]
        for layer, ms in self.world.layer_times.items() if self.profiler is not None else ():
            self.profiler.report_layer_time(layer, ms)
        return self.world.launches


class FakeInspector:
    def __init__(self, told: str) -> None:
        self.told = told

    def get_engine_information(self, format: Any, /) -> str:
        assert format == "json"
        return self.told


class FakeEngine:
    def __init__(self, world: "World") -> None:
        self.world = world

    @property
    def num_io_tensors(self) -> int:
        return len(self.world.tensors)

    def get_tensor_name(self, index: int, /) -> str:
        return list(self.world.tensors)[index]

    def get_tensor_mode(self, name: str, /) -> Enumerator:
        return self.world.tensors[name][0]

    def get_tensor_dtype(self, name: str, /) -> Enumerator:
        return self.world.tensors[name][1]

    def get_tensor_profile_shape(self, name: str, profile_index: int, /) -> Sequence[Sequence[int]]:
        assert (name, profile_index) == ("image", 0)
        return [list(shape) for shape in self.world.profile]

    def create_engine_inspector(self) -> FakeInspector:
        return FakeInspector(self.world.inspected)

    def create_runtime_config(self) -> FakeConfig:
        return self.world.config

    def create_execution_context(self, runtime_config: IRuntimeConfig | None = None, /) -> FakeContext | None:
        assert (runtime_config is not None) == (self.world.backend == TENSORRT_RTX)
        return FakeContext(self.world) if self.world.has_room else None


class FakeRuntime:
    engine_host_code_allowed = False

    def __init__(self, world: "World") -> None:
        self.world = world

    def deserialize_cuda_engine(self, serialized_engine: bytes, /) -> FakeEngine | None:
        assert serialized_engine.startswith(self.world.backend.magic.encode())
        if self.world.loads:
            return FakeEngine(self.world)
        self.world.logger.log(FakeLogger.ERROR, "planted refusal")
        self.world.logger.log(FakeLogger.INFO, "no error")
        return None


class FakeModule(types.SimpleNamespace):
    """Hashable, as modules are."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class World:
    """What the stand-ins do, and what was done to them."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.config = backend, FakeConfig()
        self.profile = ((1, *SHAPE), (1, *SHAPE), (4, *SHAPE))
        self.tensors = {"image": (INPUT, FLOAT), "joints": (OUTPUT, FLOAT)}
        self.loads = self.has_room = self.takes_addresses = self.launches = True
        self.writes = 4
        self.inspected = ""
        self.layer_times: dict[str, float] = {}
        self.calls: list[str] = []
        self.logger: Any = None
        self.module = FakeModule(
            __version__="1.7.1.116",
            Runtime=self.make_runtime,
            ILogger=FakeLogger,
            IProfiler=FakeProfiler,
            DataType=types.SimpleNamespace(FLOAT=FLOAT, UINT8=UINT8),
            LayerInformationFormat=types.SimpleNamespace(JSON="json"),
            TensorIOMode=types.SimpleNamespace(INPUT=INPUT, OUTPUT=OUTPUT),
            DynamicShapesKernelSpecializationStrategy=types.SimpleNamespace(EAGER="eager"),
            CudaGraphStrategy=types.SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole"),
        )

    def make_runtime(self, logger: Any) -> FakeRuntime:
        self.logger = logger
        return FakeRuntime(self)


def at(address: int, shape: tuple[int, ...], *, pixels: bool = False) -> NDArray[Any]:
    kind = ctypes.c_uint8 if pixels else ctypes.c_float
    memory = (kind * int(np.prod(shape))).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(shape)


def expected(images: NDArray[Any]) -> NDArray[np.float32]:
    steps = np.arange(np.prod(JOINTS), dtype=np.float32).reshape(JOINTS)
    means: NDArray[np.float32] = images.reshape(len(images), -1).mean(axis=1, dtype=np.float32)
    return means[:, None, None] + steps


def images(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, *SHAPE)).astype(np.float32)


def opened(world: World, tmp_path: Path, **options: Any) -> TensorRTEngine:
    return TensorRTEngine(tmp_path / "e", world.backend, cuda=Host(world.calls), **options)


PIXELS = (4, 4, 3)


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, size=(count, *PIXELS)).astype(np.uint8)
