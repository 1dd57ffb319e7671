"""Engines of the fake TensorRT: files with a real header, a record that agrees, and a small ONNX network."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bench.sessions.tensorrt import TensorRTEngine
from export.engine.build import EngineRecord, Profile
from export.engine.plan import TENSORRT_RTX, Backend
from export.runtime.exchange import Exchange
from export.runtime.tensorrt_log import logger_of
from tests.export.engine.files import JOINTS, SHAPE, VERSIONS, write_engine
from tests.export.engine.gpu import ADA
from tests.support.host_cuda import note_driver
from tests.support.standin import fake_tensorrt

PIXELS = (4, 4, 3)


class World:
    """The fake library of one product, one engine file, and what was done with them."""

    def __init__(self, backend: Backend, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.backend, self.path, self._patch = backend, folder / "e", patch
        self.calls, self.configs = fake_tensorrt.CALLS, fake_tensorrt.CONFIGS
        self.calls.clear()
        self.configs.clear()
        logger_of.cache_clear()
        patch.setattr(fake_tensorrt, "RTX", backend == TENSORRT_RTX)
        patch.setattr(fake_tensorrt, "__version__", VERSIONS[backend.module])
        patch.setitem(sys.modules, backend.module, fake_tensorrt)
        patch.setattr("export.runtime.registry.installed", lambda runtime: True)
        gpu = {"GPU": ADA.name, "CAPABILITY": ADA.compute_capability, "MEMORY": str(ADA.memory_bytes)}
        for name, value in (gpu | {"MULTIPROCESSORS": str(ADA.multiprocessors)}).items():
            self.plant(name, value)
        self.plant("INSPECTED", "")  # nothing, of which no other type than the record's can be read
        self.write()

    def write(self, **change: Any) -> EngineRecord:
        """Write the engine, with this change in its record."""
        profile = change.get("profile") or Profile("image", (1, *SHAPE), (1, *SHAPE), (4, *SHAPE))
        shapes = np.array([profile.min, profile.opt, profile.max], "<i4").tobytes()
        content = shapes + mean_network(pixels=profile.max[-1] == 3)
        return write_engine(self.path, self.backend, content, **change)

    def plant(self, name: str, value: str = "1") -> None:
        """Plant a defect."""
        self._patch.setenv(f"STANDIN_{name}", value)

    def mend(self, name: str) -> None:
        """Take a defect back."""
        self._patch.delenv(f"STANDIN_{name}")

    def note_driver(self) -> None:
        """Note what is done by the driver too, and a graph as the launch that it recorded."""
        calls = self.calls

        def capture(exchange: Exchange, launch: Any) -> Any:
            calls.append("capture")

            def replay() -> None:
                calls.append("replay")
                launch()

            return replay

        note_driver(self._patch, calls)
        self._patch.setattr(Exchange, "capture", capture)


def mean_network(*, pixels: bool) -> bytes:
    """Joint (i, j) of an image is its mean, plus 3·i + j."""
    shape, kind = (PIXELS, TensorProto.UINT8) if pixels else (SHAPE, TensorProto.FLOAT)
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2, 3]),
        helper.make_node("Reshape", ["means", "column"], ["tall"]),
        helper.make_node("Add", ["tall", "steps"], ["joints"]),
    ]
    constants = {"column": np.array([-1, 1, 1]), "steps": _steps()}
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("image", kind, ["batch", *shape])],
        [helper.make_tensor_value_info("joints", TensorProto.FLOAT, ["batch", *JOINTS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def expected(images: NDArray[Any]) -> NDArray[np.float32]:
    means: NDArray[np.float32] = images.reshape(len(images), -1).mean(axis=1, dtype=np.float32)
    return means[:, None, None] + _steps()


def images(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, *SHAPE)).astype(np.float32)


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, size=(count, *PIXELS)).astype(np.uint8)


def opened(world: World, **options: Any) -> TensorRTEngine:
    return TensorRTEngine(world.path, world.backend, **options)


def _steps() -> NDArray[np.float32]:
    return np.arange(np.prod(JOINTS), dtype=np.float32).reshape(JOINTS)
