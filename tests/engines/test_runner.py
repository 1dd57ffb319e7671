"""Engines are run: batches, pixels, boundaries and CUDA graphs, by a runtime made of Python."""

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.engine import Profile
from export.engine_plan import TENSORRT, TENSORRT_RTX
from export.errors import BadInput, CheckFailed
from export.tensorrt_api import (
    RTX_ONLY,
    EngineInspector,
    ICudaEngine,
    IExecutionContext,
    IProfiler,
    IRuntimeConfig,
    Runtime,
)
from tests.engines.files import write_engine
from tests.engines.stand_in import (
    FLOAT,
    HALF,
    INPUT,
    OUTPUT,
    PIXELS,
    UINT8,
    FakeConfig,
    FakeContext,
    FakeEngine,
    FakeInspector,
    FakeLogger,
    FakeProfiler,
    FakeRuntime,
    World,
    expected,
    images,
    opened,
    pixels,
)
from tests.tensorrt_members import RTX, read_list


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


@pytest.fixture
def pixel_world(world: World, tmp_path: Path) -> World:
    """The input is bytes, channels last, as in a pixel edition."""
    world.profile = ((1, *PIXELS), (1, *PIXELS), (4, *PIXELS))
    world.tensors = {"image": (INPUT, UINT8), "joints": (OUTPUT, FLOAT)}
    write_engine(tmp_path / "e", world.backend, profile=Profile("image", *world.profile))
    return world


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
