"""Engines of the fake TensorRT on the fake driver: files with a header, a record and a small ONNX network."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.engine.record import EngineRecord, Profile
from export.runtime.engine_file import PRODUCTS, TENSORRT_RTX, Product
from export.runtime.exchange import Exchange
from export.runtime.gpu import Driver
from export.runtime.tensorrt import Engine, EngineSession
from export.runtime.tensorrt_log import logger_of
from tests.support import fake_tensorrt
from tests.support.engines import ADA, JOINTS, SHAPE, VERSIONS, write_engine
from tests.support.host_cuda import note_driver

PIXELS = (4, 4, 3)


class FakeEngines:
    """The fake library of one product, an engine file, and a list of calls."""

    def __init__(self, product: Product, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.product, self.path, self._patch = product, folder / "e", patch
        self.calls, self.configs = fake_tensorrt.CALLS, fake_tensorrt.CONFIGS
        self.calls.clear()
        self.configs.clear()
        logger_of.cache_clear()
        patch.setattr(fake_tensorrt, "RTX", product == TENSORRT_RTX)
        patch.setattr(fake_tensorrt, "__version__", VERSIONS[product.module])
        patch.setitem(sys.modules, product.module, fake_tensorrt)
        patch.setattr("export.runtime.registry.installed", lambda runtime: True)
        gpu = {"GPU": ADA.name, "CAPABILITY": ADA.compute_capability, "MEMORY": str(ADA.memory_bytes)}
        for name, value in (gpu | {"MULTIPROCESSORS": str(ADA.multiprocessors)}).items():
            self.plant(name, value)
        self.plant("INSPECTED", "")  # an inspector without types
        self.write()

    def write(self, **changes: Any) -> EngineRecord:
        """Write the engine, with these changes in its record."""
        profile = changes.get("profile") or Profile("image", (1, *SHAPE), (1, *SHAPE), (4, *SHAPE))
        shapes = np.array([profile.min, profile.opt, profile.max], "<i4").tobytes()
        content = shapes + mean_network(pixels=profile.max[-1] == 3)
        self.record = write_engine(self.path, self.product, content, **changes)
        return self.record

    def open(self, *, graph: bool = False) -> EngineSession:
        profile = self.record.profile
        engine = Engine(self.path.read_bytes(), "e", "fp32", (profile.min, profile.opt, profile.max), False, "build")
        return EngineSession(engine, self.product, ADA, graph=graph)

    def plant(self, name: str, value: str = "1") -> None:
        """Plant a defect."""
        self._patch.setenv(f"FAKE_{name}", value)

    def plant_layers(self, *layers: dict[str, Any]) -> None:
        """Let the inspector describe these layers."""
        self.plant("INSPECTED", json.dumps({"Layers": layers}))

    def mend(self, name: str) -> None:
        """Take a defect back."""
        self._patch.delenv(f"FAKE_{name}")

    def note_driver(self) -> None:
        """Note the driver's calls too, and let a CUDA graph launch again what it recorded."""
        calls = self.calls

        def capture(exchange: Exchange, launch: Any) -> Any:
            calls.append("capture")

            def replay() -> None:
                calls.append("replay")
                launch()

            return replay

        note_driver(self._patch, calls)
        self._patch.setattr(Exchange, "capture", capture)


@pytest.fixture(params=list(PRODUCTS.values()), ids=list(PRODUCTS))
def engines(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: Driver
) -> FakeEngines:
    return FakeEngines(request.param, tmp_path, monkeypatch)


@pytest.fixture
def pixel_engines(engines: FakeEngines) -> FakeEngines:
    """The input is bytes, channels last."""
    engines.write(profile=Profile("image", (1, *PIXELS), (1, *PIXELS), (4, *PIXELS)))
    return engines


def mean_network(*, pixels: bool) -> bytes:
    """Return a network that gives joint (i, j) the mean of its image, plus 3·i + j."""
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


def assert_joints(joints: NDArray[np.float32], images: NDArray[Any]) -> None:
    """Check that these are the joints of these images."""
    means: NDArray[np.float32] = images.reshape(len(images), -1).mean(axis=1, dtype=np.float32)
    np.testing.assert_allclose(joints, means[:, None, None] + _steps(), rtol=1e-6, atol=1e-6)


def images(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, *SHAPE)).astype(np.float32)


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, size=(count, *PIXELS)).astype(np.uint8)


def _steps() -> NDArray[np.float32]:
    return np.arange(np.prod(JOINTS), dtype=np.float32).reshape(JOINTS)
