"""Engines are run where there is a GPU; here, everything up to that, and the rest with a runtime made of Python.

The stand-in has only members that TensorRT has, and it works on real memory: it reads images and writes joints at the
addresses that the runner gives it.
"""

import ctypes
import json
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.backends import tensorrt as runner
from bench.backends.engine_file import check_engine, require_gpu, require_version
from bench.backends.protocol import LayerTime
from bench.backends.tensorrt import TensorRTEngine, first_gpu
from bench.backends.tensorrt_profile import read_origins
from bench.exported import open_backend, read_export
from bench.parts import attribute
from export import engine_runtime, model_steps
from export.artifacts import sha256_file, write_image
from export.engine import EngineRecord, Profile, build_engine, read_record
from export.engine_network import Convolutions
from export.engine_plan import BACKENDS, RTX_TARGETS, TENSORRT, TENSORRT_RTX, Backend, EnginePlan
from export.engine_runtime import Choice, choose_runtime
from export.engine_worker import inspect, make_logger
from export.errors import BadInput, CheckFailed, NotPossible
from export.gpu import Gpu, default_gpu
from export.manifest import Artifact, NotRun, write_manifest
from export.steps import Made, Step
from export.tensorrt_api import (
    RTX_ONLY,
    EngineInspector,
    ICudaEngine,
    IExecutionContext,
    IProfiler,
    IRuntimeConfig,
    Runtime,
)
from tests.command_line import assert_three_parts, convnextpose
from tests.host_cuda import Host
from tests.tensorrt_members import RTX, read_list
from tests.test_engine import RECORD, network
from tests.test_recipe import manifest

SHAPE, JOINTS = (3, 4, 4), (2, 3)
ORIN = Gpu("Orin", "8.7", int(7.4 * 2**30), 8)
ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, 128)
has_gpu = default_gpu()[0] is not None
without_gpu = pytest.mark.skipif(has_gpu, reason="this machine has a GPU")


def write_engine(path: Path, backend: Backend, **change: Any) -> EngineRecord:
    """An engine file of no content, but with a header and a record that agree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(backend.magic.encode() + bytes(20) + bytes([1, 7, 1, 116]) + b"content")
    made: dict[str, Any] = {
        "runtime": backend.module,
        "plan_magic": backend.magic,
        "profile": Profile("image", (1, *SHAPE), (1, *SHAPE), (4, *SHAPE)),
        "size_bytes": path.stat().st_size,
        "engine_sha256": sha256_file(path),
        "targets": ("8.9",) if backend.takes_targets else (),
        "gpu": None if backend.takes_targets else ADA,
    }
    record = replace(RECORD, **(made | change))
    Path(f"{path}.json").write_text(json.dumps(asdict(record)))
    return record


# ── what is refused before anything is loaded ────────────────────────────────────────────────────────────────────────


def test_a_sound_file(tmp_path: Path) -> None:
    record = write_engine(tmp_path / "e", TENSORRT_RTX)
    assert check_engine(tmp_path / "e", TENSORRT_RTX) == record


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def overwrite(path: Path, at: int, data: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:at] + data + content[at + len(data) :])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "cannot read the engine"),
        (lambda path: truncate(path, 0), "is no engine"),
        (lambda path: truncate(path, 20), "20 bytes in place of 35"),
        (lambda path: truncate(path, 30), "30 bytes in place of 35"),
        (lambda path: overwrite(path, 0, b"ONNX"), r"begins with b'ONNX'"),
        (lambda path: overwrite(path, 0, b"\xff\xfe\x00\x01"), "is no engine"),
        (lambda path: overwrite(path, 0, b"ftrt"), "an engine of TensorRT, not of TensorRT-RTX.*--runtime tensorrt,"),
        (
            lambda path: overwrite(path, 24, bytes([1, 6])),
            "1.7.1.116 in the record, tensorrt_rtx 1.6.1.116 in the file",
        ),
        (lambda path: overwrite(path, 30, b"X"), "another sha256"),
        (lambda path: Path(f"{path}.json").unlink(), "not a record of an engine"),
        (lambda path: Path(f"{path}.json").write_text("{}"), "not a record of an engine"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / "e"
    write_engine(path, TENSORRT_RTX)
    damage(path)
    with pytest.raises(BadInput, match=said):
        TensorRTEngine(path, TENSORRT_RTX)


def test_the_engine_of_another_version_or_gpu() -> None:
    path, tuned = Path("e"), replace(RECORD, runtime="tensorrt", targets=(), gpu=ORIN)
    require_version(path, RECORD, TENSORRT_RTX, "1.7.1.116")
    require_version(path, RECORD, TENSORRT_RTX, "1.7.1.post1")
    require_gpu(path, RECORD, ADA)
    require_gpu(path, tuned, ORIN)
    require_gpu(path, tuned, replace(ORIN, memory_bytes=7 << 30))  # the kernel keeps more for itself
    with pytest.raises(NotPossible, match=r"built by TensorRT-RTX 1\.7\.1\.116; installed: 1\.6\.0\.1"):
        require_version(path, RECORD, TENSORRT_RTX, "1.6.0.1")
    with pytest.raises(NotPossible, match=r"built for SM 8\.9; not run; this machine has NVIDIA H100 \(9\.0\)"):
        require_gpu(path, RECORD, Gpu("NVIDIA H100", "9.0", 1, 16))
    with pytest.raises(NotPossible, match=r"1\.116 \(the file says 1\.6\.0\.1\); installed: 1\.7\.1\.116"):
        require_version(path, replace(RECORD, plan_version="1.6.0.1"), TENSORRT_RTX, "1.7.1.116")
    with pytest.raises(
        NotPossible, match=r"tuned on Orin \(8.7, 8 multiprocessors, 7.4 GiB\); this machine has NVIDIA"
    ):
        require_gpu(path, tuned, ADA)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"multiprocessors": 16}, r"this machine has Orin \(8.7, 16 multiprocessors, 7.4 GiB\)"),
        ({"compute_capability": "8.6"}, r"this machine has Orin \(8.6, 8 multiprocessors, 7.4 GiB\)"),
        ({"memory_bytes": 15 << 30}, r"this machine has Orin \(8.7, 8 multiprocessors, 15.0 GiB\)"),
    ],
)
def test_a_module_of_another_size_with_the_same_name_is_another_gpu(other: dict[str, Any], said: str) -> None:
    """The driver may call every Jetson of a generation the same, whatever its size."""
    tuned, here = replace(RECORD, runtime="tensorrt", targets=(), gpu=ORIN), replace(ORIN, **other)
    with pytest.raises(NotPossible, match=said):
        require_gpu(Path("e"), tuned, here)
    assert here.kind != ORIN.kind  # neither is it found as if it had been built, nor shares what was timed


def test_an_engine_is_not_taken_for_built_on_a_module_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step's options say is what tells whether it is finished."""
    asked: list[Any] = []

    class Folder:
        path = tmp_path

        def perform(self, step: Step, work: object) -> Made:
            asked.append(step.options)
            return Made({}, {})

    for here in (ORIN, replace(ORIN, memory_bytes=7 << 30), replace(ORIN, multiprocessors=16)):
        choice = Choice(TENSORRT, "planted", "10.3.0", here)
        monkeypatch.setattr(model_steps, "choose_runtime", lambda wanted, found=choice: found)
        model_steps.built_engine(cast(Any, Folder()), "onnx/e.onnx", "a" * 64, EnginePlan(), "fp32")
    assert asked[0] == asked[1] != asked[2]


def test_the_kind_of_a_gpu_does_not_follow_what_the_kernel_sets_aside() -> None:
    assert replace(ORIN, memory_bytes=7 << 30).kind == ORIN.kind == "Orin, 8.7, 8 multiprocessors, at most 8 GiB"


def test_a_record_says_on_which_gpu_the_engine_was_tuned(tmp_path: Path) -> None:
    write_engine(tmp_path / "e", TENSORRT, gpu=ORIN)
    assert read_record(tmp_path / "e.json").gpu == ORIN
    plain = json.loads((tmp_path / "e.json").read_text())
    (tmp_path / "e.json").write_text(json.dumps(plain | {"schema_version": 4, "gpu": "Orin"}))
    with pytest.raises(BadInput, match=r"schema_version 4, not 5 — build the engine again"):
        read_record(tmp_path / "e.json")


def test_what_compatible_engines_ask_of_a_machine() -> None:
    path, tuned = (
        Path("e"),
        replace(
            RECORD, runtime="tensorrt", targets=(), gpu=ORIN, package_version="10.13.3.9", plan_version="10.13.3.9"
        ),
    )
    wide = replace(tuned, hardware_compatible=True, version_compatible=True)
    require_version(path, wide, TENSORRT, "10.13.3.9")
    require_version(path, wide, TENSORRT, "11.0.0.114")
    for earlier in ("10.9.0.34", "9.3.0"):
        with pytest.raises(NotPossible, match="needs another"):
            require_version(path, wide, TENSORRT, earlier)
    require_gpu(path, wide, ADA)
    require_gpu(path, wide, Gpu("NVIDIA GeForce RTX 5090", "12.0", 1, 16))
    with pytest.raises(NotPossible, match=r"tuned on Orin \(.*; this machine has Tesla T4"):
        require_gpu(path, wide, Gpu("Tesla T4", "7.5", 1, 16))


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "default_gpu", lambda: (None, "planted reason"))
    with pytest.raises(NotPossible, match="planted reason") as caught:
        first_gpu()
    assert caught.value.exit_code == 4


# ── the real TensorRT-RTX, as far as it goes without a GPU ───────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small engine, and the ONNX file that it was built from."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    folder = tmp_path_factory.mktemp("engines")
    (folder / "tiny.onnx").write_bytes(network())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_runtime, "find_spec", lambda name: None if name == "tensorrt" else find_spec(name))
        build_engine(folder / "tiny.onnx", folder / "tiny.rtx.engine", EnginePlan(targets=("8.9",)))
    return folder


@without_gpu
def test_a_real_engine_needs_a_gpu(real: Path) -> None:
    with pytest.raises(NotPossible, match=r"engines run on an NVIDIA GPU only.*--runtime onnxruntime"):
        TensorRTEngine(real / "tiny.rtx.engine", TENSORRT_RTX)


@without_gpu
def test_torch_without_cuda(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "first_gpu", lambda: ADA)
    with pytest.raises(NotPossible, match="torch reaches no GPU"):
        TensorRTEngine(real / "tiny.rtx.engine", TENSORRT_RTX)


@without_gpu
def test_a_refusal_of_the_real_library_is_told(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver TensorRT-RTX answers None and lines in its log, which end up in the message."""
    monkeypatch.setattr(runner, "first_gpu", lambda: ADA)
    with pytest.raises(
        NotPossible, match=r"TensorRT-RTX 1\..* does not load .*tiny.rtx.engine — .*cudaError 35.*SM 8\.9"
    ):
        TensorRTEngine(real / "tiny.rtx.engine", TENSORRT_RTX, cuda=Host())


@without_gpu
def test_a_file_that_only_the_library_can_judge(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off, with a record that was made to agree: the library refuses, and its own words are shown."""
    monkeypatch.setattr(runner, "first_gpu", lambda: ADA)
    path = tmp_path / "cut"
    path.write_bytes((real / "tiny.rtx.engine").read_bytes()[:-100])
    record = json.loads((real / "tiny.rtx.engine.json").read_text())
    record |= {"size_bytes": path.stat().st_size, "engine_sha256": sha256_file(path)}
    Path(f"{path}.json").write_text(json.dumps(record))
    with pytest.raises(NotPossible, match=r"header\.size == blobSize"):
        TensorRTEngine(path, TENSORRT_RTX, cuda=Host())


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="tensorrt is installed")
def test_the_library_is_not_installed(tmp_path: Path) -> None:
    write_engine(tmp_path / "e", TENSORRT)
    with pytest.raises(NotPossible, match=r"TensorRT is not installed.*pip install tensorrt"):
        TensorRTEngine(tmp_path / "e", TENSORRT)


# ── a runtime made of Python ─────────────────────────────────────────────────────────────────────────────────────────


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


@pytest.fixture(params=list(BACKENDS.values()), ids=list(BACKENDS))
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(request.param)
    write_engine(tmp_path / "e", made.backend)
    monkeypatch.setattr(runner, "load_library", lambda _: made.module)
    monkeypatch.setattr(runner, "first_gpu", lambda: ADA)
    return made


def opened(world: World, tmp_path: Path, **options: Any) -> TensorRTEngine:
    return TensorRTEngine(tmp_path / "e", world.backend, cuda=Host(world.calls), **options)


def test_the_stand_in_has_only_members_that_exist() -> None:
    """And mypy holds it to the same declarations as the code."""
    world = World(TENSORRT)
    runtime: Runtime = FakeRuntime(world)
    engine: ICudaEngine = FakeEngine(world)
    context: IExecutionContext = FakeContext(world)
    config: IRuntimeConfig = FakeConfig()
    profiler: IProfiler = FakeProfiler()
    names = {"Runtime": runtime, "ICudaEngine": engine, "IExecutionContext": context, "IRuntimeConfig": config}
    inspector: EngineInspector = FakeInspector("")
    names |= {"IProfiler": profiler, "EngineInspector": inspector, "ILogger": FakeLogger()}
    enumerations = {name: vars(of) for name, of in vars(world.module).items() if isinstance(of, types.SimpleNamespace)}
    assert enumerations.keys() == {
        *("DataType", "LayerInformationFormat", "TensorIOMode"),
        *("DynamicShapesKernelSpecializationStrategy", "CudaGraphStrategy"),
    }
    for version, classes in read_list().items():
        for name, values in enumerations.items():
            assert (version != RTX and name in RTX_ONLY) or values.keys() <= classes[name].keys(), (version, name)
        for name, stand_in in names.items():
            only_rtx = {"create_runtime_config"} if name == "ICudaEngine" and version != RTX else set()
            if name == "IRuntimeConfig" and version != RTX:
                continue
            methods = {member for member in dir(type(stand_in)) if not member.startswith("_")} - only_rtx
            assert methods <= classes[name].keys(), (version, name)


def test_batches_of_all_sizes(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path)
    kept = []
    for count in (1, 4, 3, 3, 1):
        kept.append((images(count), engine.run(images(count))))
    for given, joints in kept:  # later runs have not changed earlier results
        np.testing.assert_allclose(joints, expected(given), rtol=1e-6)
        assert joints.dtype == np.float32
    shapes = [call for call in world.calls if call.startswith("shape")]
    assert shapes == ["shape 4", "shape 1", "shape 4", "shape 3", "shape 1"]  # the first is for its memory
    strided = images(2)[:, :, :, ::-1]
    np.testing.assert_allclose(engine.run(strided), expected(strided), rtol=1e-6)


# ── engines that take pixels ─────────────────────────────────────────────────────────────────────────────────────────

PIXELS = (4, 4, 3)


@pytest.fixture
def pixel_world(world: World, tmp_path: Path) -> World:
    """The input is bytes, channels last, as in a pixel edition."""
    world.profile = ((1, *PIXELS), (1, *PIXELS), (4, *PIXELS))
    world.tensors = {"image": (INPUT, UINT8), "joints": (OUTPUT, FLOAT)}
    write_engine(tmp_path / "e", world.backend, profile=Profile("image", *world.profile))
    return world


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, size=(count, *PIXELS)).astype(np.uint8)


@pytest.mark.parametrize("graph", [False, True])
def test_an_engine_that_takes_pixels(pixel_world: World, tmp_path: Path, graph: bool) -> None:
    engine = opened(pixel_world, tmp_path, graph=graph)
    assert engine.takes_pixels
    for count in (1, 4, 4, 3):
        np.testing.assert_allclose(engine.run(pixels(count)), expected(pixels(count)), rtol=1e-6)
    assert engine.pinned(pixels(2)).dtype == np.uint8
    engine.bind(pixels(2))()


@pytest.mark.parametrize(
    "given", [images(1), pixels(1).astype(np.float32), pixels(1).transpose(0, 3, 1, 2), pixels(1)[0]]
)
def test_what_is_no_pixels_does_not_fit(pixel_world: World, tmp_path: Path, given: NDArray[Any]) -> None:
    engine = opened(pixel_world, tmp_path)
    with pytest.raises(BadInput, match=r"give \(N, 4, 4, 3\) uint8"):
        engine.run(given)


@pytest.mark.parametrize("kind", [FLOAT, HALF])
def test_an_engine_whose_record_speaks_of_pixels_takes_bytes(pixel_world: World, tmp_path: Path, kind: Any) -> None:
    pixel_world.tensors["image"] = (INPUT, kind)
    with pytest.raises(CheckFailed, match=f"image: INPUT {kind.name}"):
        opened(pixel_world, tmp_path)


# ── what is asked of it, and what it says ────────────────────────────────────────────────────────────────────────────


def test_what_it_says_of_itself(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path)
    assert engine.describe() == f"{world.backend.product} 1.7.1.116, {ADA.name} (8.9), no CUDA graph"
    assert (engine.precision, engine.takes_pixels) == ("fp32", False)
    assert engine.runtime.replace("-", "_") == world.backend.module


def test_boundaries(world: World, tmp_path: Path) -> None:
    """Events stand around the launch and nothing else; what is bound is launched and waited for, with no copy."""
    engine = opened(world, tmp_path)
    given = engine.pinned(images(1))
    np.testing.assert_array_equal(given, images(1))
    engine.run(given)
    world.calls.clear()
    engine.run(given)
    assert world.calls == ["begin", "launch", "end", "wait"]
    assert engine.device_ms() == 2.5
    run = engine.bind(images(1))
    world.calls.clear()
    run()
    assert world.calls == ["launch", "wait"]
    assert engine.largest_batch == 4


def test_a_bound_run_is_a_graph_too(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path, graph=True)
    run = engine.bind(images(1))
    run()
    world.calls.clear()
    run()
    assert world.calls == (["launch"] if world.backend == TENSORRT_RTX else ["replay", "launch"]) + ["wait"]


def test_facts_of_an_engine(world: World, tmp_path: Path) -> None:
    facts = opened(world, tmp_path, graph=True).facts()
    assert facts["problems"] == []
    assert (facts["device"], facts["precision_used"]) == (f"{ADA.name} (8.9)", None)  # the inspector told nothing
    assert facts["proof"].endswith("the strongly typed network had: CONVOLUTION: 65 FLOAT")
    tensors = [{"Name": "t", "DataType": "Float"}]
    world.inspected = json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]})
    facts = opened(world, tmp_path, graph=True).facts()
    assert (facts["precision_used"], facts["proof"]) == ("fp32", "the engine's inspector: conv: 1 fp32")
    assert (facts["options"]["cuda_graph"], facts["options"]["tf32"]) == (True, False)
    assert ("cold" in facts["options"].get("runtime_cache", "")) == (world.backend == TENSORRT_RTX)
    write_engine(tmp_path / "e", world.backend, tf32=True)
    assert opened(world, tmp_path).facts()["problems"] == ["the engine was built with TF32"]


def test_cuda_graphs(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path, graph=True)
    for count in (2, 2, 2, 3, 3):
        np.testing.assert_allclose(engine.run(images(count)), expected(images(count)), rtol=1e-6)
    if world.backend == TENSORRT_RTX:
        assert world.config.cuda_graph_strategy == "whole"
        assert "capture" not in world.calls
    else:  # one capture for each new shape, after one plain launch
        used = [call for call in world.calls if call in ("capture", "replay")]
        assert used == ["capture", "replay", "replay", "capture", "replay"]


def test_rtx_compiles_for_the_shapes_that_are_measured(world: World, tmp_path: Path) -> None:
    opened(world, tmp_path)
    strategy = world.config.dynamic_shapes_kernel_specialization_strategy
    assert strategy == ("eager" if world.backend == TENSORRT_RTX else None)
    assert world.config.cuda_graph_strategy is None


@pytest.mark.parametrize("graph", [False, True])
def test_layers_are_timed_one_by_one(world: World, tmp_path: Path, graph: bool) -> None:
    stem, fused = "backbone.downsample_layers.0.0/Conv + entry.0/Mul", "__myl_Mul_myl0_1"
    made_of = "[ONNX Layer: decode/Softmax]\x1e[ONNX Layer: decode/Mul]"
    world.inspected = json.dumps({"Layers": [{"Name": stem}, {"Name": fused, "Metadata": made_of}]})
    engine = opened(world, tmp_path, graph=graph)
    engine.run(images(1))
    world.calls.clear()
    world.config.cuda_graph_strategy = None
    profiler = engine.profiler()
    world.layer_times = {stem: 99.0, fused: 99.0}
    profiler.run(images(1))  # warms up
    profiler.start()
    for ms in (2.0, 4.0):
        world.layer_times = {stem: ms, fused: ms / 2}
        profiler.run(images(1))
    assert not {"capture", "replay"} & {*world.calls}
    assert world.config.cuda_graph_strategy is None
    layers = profiler.layers()
    assert layers == [LayerTime(stem, 3.0), LayerTime(fused, 1.5, "decode/Softmax, decode/Mul")]
    assert attribute([(layer.name, layer.origin) for layer in layers]) == ["stem", "decode"]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Layers": ["stem"]}', '{"Layers": [{"Name": "stem"}]}'])
def test_an_engine_without_details_tells_no_origins(text: str) -> None:
    assert read_origins(text) == {}


def test_an_engine_that_computes_in_another_type_is_not_run(world: World, tmp_path: Path) -> None:
    layer: dict[str, Any] = {"Name": "stem", "LayerType": "CaskConvolution"}
    layer["Inputs"] = [{"Format/Datatype": "Row major linear FP32"}]
    world.inspected = json.dumps({"Layers": [layer]})
    assert opened(world, tmp_path).layers.types == {"CaskConvolution": {"fp32": 1}}
    layer["Inputs"] = [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]
    world.inspected = json.dumps({"Layers": [layer]})
    with pytest.raises(CheckFailed, match="stem computes in fp16"):
        opened(world, tmp_path)


def test_a_builder_looks_at_its_new_engine(world: World) -> None:
    """As the builder's process does where there is a GPU."""
    trt: Any = world.module
    logger, blob, plan = (
        make_logger(trt, lambda _: None, []),
        world.backend.magic.encode(),
        EnginePlan(precision="int8"),
    )
    tensors = [{"Format/Datatype": "Row major linear FP32"}]
    counts = Convolutions(1, 1)
    world.inspected = json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]})
    with pytest.raises(CheckFailed, match="no layer computes in int8"):
        inspect(trt, logger, blob, plan, Path("e"), counts)
    tensors.append({"Format/Datatype": "Row major Int8 format"})
    world.inspected = json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]})
    assert inspect(trt, logger, blob, plan, Path("e"), counts)["types"] == {"conv": {"fp32+int8": 1}}
    world.loads = False
    with pytest.raises(CheckFailed, match="does not load"):
        inspect(trt, logger, blob, plan, Path("e"), counts)


@pytest.mark.parametrize("graph", [False, True])
def test_what_the_engine_does_not_write_is_seen(world: World, tmp_path: Path, graph: bool) -> None:
    engine = opened(world, tmp_path, graph=graph)
    engine.run(images(4))
    world.writes = 3  # the last pose keeps what lay there, which must not be the earlier run's
    with pytest.raises(CheckFailed, match="1 of 4 poses"):
        engine.run(images(4))
    world.writes = 4
    bad = images(4)
    bad[1, 0, 0, 0] = np.inf
    with pytest.raises(CheckFailed, match="1 of 4 poses"):
        engine.run(bad)
    engine.run(images(4))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (images(5), "a batch of 5 is outside the engine's profile — 1 to 4"),
        (images(1)[:0], "a batch of 0 is outside"),
        (images(1)[:, :2], "do not fit the engine"),
        (images(1).astype(np.float64), "float64"),
        ((images(1) * 0).astype(np.uint8).transpose(0, 2, 3, 1), "uint8"),
        (images(1)[0], "do not fit the engine"),
    ],
)
def test_images_that_do_not_fit(world: World, tmp_path: Path, given: NDArray[Any], said: str) -> None:
    engine = opened(world, tmp_path)
    world.calls.clear()
    with pytest.raises(BadInput, match=said):
        engine.run(given)
    assert world.calls == []


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"loads": False}, NotPossible, "does not load .* — planted refusal; built for SM 8.9"),
        ({"has_room": False}, NotPossible, "no room to run"),
        ({"takes_addresses": False}, CheckFailed, "does not take the address of image"),
        ({"profile": ((1, *SHAPE), (1, *SHAPE), (8, *SHAPE))}, CheckFailed, "other shapes than its record says"),
        ({"tensors": {"image": (INPUT, FLOAT)}}, CheckFailed, "image: INPUT FLOAT"),
        ({"tensors": {"image": (INPUT, HALF), "joints": (OUTPUT, FLOAT)}}, CheckFailed, "image: INPUT HALF"),
        ({"tensors": {"input": (INPUT, FLOAT), "joints": (OUTPUT, FLOAT)}}, CheckFailed, "input: INPUT FLOAT"),
    ],
)
def test_what_the_library_refuses(
    world: World, tmp_path: Path, change: dict[str, Any], kind: type[Exception], said: str
) -> None:
    vars(world).update(change)
    with pytest.raises(kind, match=said):
        opened(world, tmp_path)


def test_a_launch_that_fails(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path)
    world.launches = False
    with pytest.raises(CheckFailed, match="does not take the launch"):
        engine.run(images(1))


def test_a_shape_that_was_refused_is_not_taken_for_the_contexts(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path)
    engine.run(images(2))
    world.profile = ((1, *SHAPE), (1, *SHAPE), (2, *SHAPE))
    with pytest.raises(CheckFailed, match=r"does not take the shape \(3, 3, 4, 4\)"):
        engine.run(images(3))
    np.testing.assert_allclose(engine.run(images(2)), expected(images(2)), rtol=1e-6)


def test_a_closed_engine_cannot_be_run(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path)
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        engine.run(images(1))


# ── which engine of a folder ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(real: Path, tmp_path: Path) -> Path:
    """An exported model with one ONNX file and its TensorRT-RTX engine."""
    for name, target in (
        ("tiny.onnx", "onnx/L-fp32.onnx"),
        *((f"tiny.rtx.engine{end}", f"engines/L-fp32.rtx.engine{end}") for end in ("", ".json")),
    ):
        (tmp_path / target).parent.mkdir(exist_ok=True)
        (tmp_path / target).write_bytes((real / name).read_bytes())
    write_manifest(tmp_path, manifest(entry(tmp_path, "onnx", "onnx"), entry(tmp_path, "engine", "tensorrt_rtx")))
    return tmp_path


def entry(folder: Path, kind: str, runtime: str) -> Artifact:
    path = "onnx/L-fp32.onnx" if kind == "onnx" else f"engines/L-fp32{BACKENDS[runtime].suffix}"
    about: dict[str, Any] = {"kind": kind, "runtime": runtime, "precision": "fp32", "path": path, "status": "built"}
    about |= {"sha256": sha256_file(folder / path), "size_bytes": (folder / path).stat().st_size}
    return Artifact(**about, inputs=[], outputs=[], details={})


@without_gpu
def test_the_manifests_engine_is_opened(folder: Path) -> None:
    with pytest.raises(NotPossible, match="engines run on an NVIDIA GPU only"):
        open_backend(read_export(folder), "tensorrt-rtx", "fp32")


@pytest.mark.parametrize(
    ("runtime", "precision", "said"),
    [
        ("tensorrt", "fp32", r"no fp32 engine for TensorRT — no engines/L-fp32\.trt\.engine — .*recipe\.md"),
        ("tensorrt-rtx", "fp16", "no fp16 ONNX file"),
        ("tensorrt_rtx", "fp32", "choose of onnxruntime, openvino, .*tensorrt, tensorrt-rtx"),
    ],
)
def test_engines_that_are_not_there(folder: Path, runtime: str, precision: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        open_backend(read_export(folder), runtime, precision)


def test_why_there_is_no_engine_is_told(folder: Path) -> None:
    read = read_export(folder).manifest
    why = NotRun(kind="engine", precision="fp32", status="not run", reason="planted reason")
    write_manifest(folder, read.model_copy(update={"not_run": [why]}))
    with pytest.raises(BadInput, match="planted reason"):
        open_backend(read_export(folder), "tensorrt", "fp32")


def test_an_engine_that_is_not_the_manifests(folder: Path) -> None:
    overwrite(folder / "engines/L-fp32.rtx.engine", 100, b"changed")
    with pytest.raises(BadInput, match="not what the manifest says of it — it was changed since"):
        open_backend(read_export(folder), "tensorrt-rtx", "fp32")


def test_an_engine_built_by_the_recipe(folder: Path) -> None:
    """It is not in the manifest; its record says which ONNX file it was built from."""
    exported, path = read_export(folder), folder / "engines/L-fp32.trt.engine"
    write_engine(path, TENSORRT, onnx_sha256=sha256_file(folder / "onnx/L-fp32.onnx"))
    assert exported.engine("fp32", TENSORRT) == path
    write_engine(path, TENSORRT, onnx_sha256="0" * 64)
    with pytest.raises(BadInput, match="built from another model"):
        open_backend(exported, "tensorrt", "fp32")


@pytest.mark.parametrize(("runtime", "exit_code"), [("tensorrt", 2), ("tensorrt-rtx", 4)])
@without_gpu
def test_the_command_ends_in_three_parts(tmp_path: Path, demo_export: Path, runtime: str, exit_code: int) -> None:
    """Exit 2: no such engine lies there; exit 4: it does, and no GPU."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    write_image(tmp_path / "photo.png", np.zeros((64, 64, 3), np.uint8))
    out = tmp_path / "pose.png"
    run = convnextpose("predict", demo_export, "photo.png", "--runtime", runtime, "--out", out, cwd=tmp_path)
    assert_three_parts(run, exit_code)
    assert not out.exists()


# ── on a GPU ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu, reason="no NVIDIA GPU")
@pytest.mark.parametrize("graph", [False, True])
def test_an_engine_computes_what_onnx_runtime_computes(tmp_path: Path, graph: bool) -> None:
    import onnxruntime

    gpu = first_gpu()
    choice = choose_runtime()
    if choice.backend is None or (choice.backend == TENSORRT_RTX and gpu.compute_capability not in RTX_TARGETS):
        pytest.skip(f"no engine can be built for {gpu.name}: {choice.reason}")
    backend = choice.backend
    source, path = tmp_path / "tiny.onnx", tmp_path / f"tiny{backend.suffix}"
    source.write_bytes(network())
    build_engine(source, path, EnginePlan(targets=(gpu.compute_capability,) if backend.takes_targets else None))
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    engine = TensorRTEngine(path, backend, graph=graph)
    for count in (1, 8, 3, 3, 3):
        given = np.random.default_rng(count).normal(size=(count, 3, 32, 32)).astype(np.float32)
        np.testing.assert_allclose(engine.run(given), session.run(None, {"image": given})[0], atol=1e-4)
    with pytest.raises(BadInput, match="a batch of 9"):
        engine.run(np.zeros((9, 3, 32, 32), np.float32))
    engine.close()
