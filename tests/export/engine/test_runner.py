"""Engines are run: batches, pixels, boundaries and CUDA graphs, by the fake TensorRT."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.common.errors import BadInput, CheckFailed
from export.engine.build import Profile
from export.engine.plan import TENSORRT_RTX
from tests.export.engine.fakes import PIXELS, World, expected, images, opened, pixels
from tests.support.host_cuda import COPIES


def test_batches_of_all_sizes(world: World) -> None:
    engine = opened(world)
    kept = []
    for count in (1, 4, 3, 3, 1):
        kept.append((images(count), engine.run(images(count))))
    for given, joints in kept:  # later runs have not changed earlier results
        np.testing.assert_allclose(joints, expected(given), rtol=1e-6, atol=1e-6)
        assert joints.dtype == np.float32
    shapes = [call for call in world.calls if call.startswith("shape")]
    assert shapes == ["shape 4", "shape 1", "shape 4", "shape 3", "shape 1"]  # the first is for its memory
    strided = images(2)[:, :, :, ::-1]
    np.testing.assert_allclose(engine.run(strided), expected(strided), rtol=1e-6, atol=1e-6)


@pytest.fixture
def pixel_world(world: World) -> World:
    """The input is bytes, channels last, as in a pixel variant."""
    world.write(profile=Profile("image", (1, *PIXELS), (1, *PIXELS), (4, *PIXELS)))
    return world


@pytest.mark.parametrize("graph", [False, True])
def test_an_engine_that_takes_pixels(pixel_world: World, graph: bool) -> None:
    pixel_world.note_driver()
    engine = opened(pixel_world, graph=graph)
    assert engine.takes_pixels
    for count in (1, 4, 4, 3):
        np.testing.assert_allclose(engine.run(pixels(count)), expected(pixels(count)), rtol=1e-6, atol=1e-6)
    assert engine.pinned(pixels(2)).dtype == np.uint8
    engine.bind(pixels(2))()


@pytest.mark.parametrize(
    "given", [images(1), pixels(1).astype(np.float32), pixels(1).transpose(0, 3, 1, 2), pixels(1)[0]]
)
def test_what_is_no_pixels_does_not_fit(pixel_world: World, given: NDArray[Any]) -> None:
    engine = opened(pixel_world)
    with pytest.raises(BadInput, match=r"give \(N, 4, 4, 3\) uint8"):
        engine.run(given)


@pytest.mark.parametrize("kind", ["FLOAT", "HALF"])
def test_an_engine_whose_record_speaks_of_pixels_takes_bytes(pixel_world: World, kind: str) -> None:
    pixel_world.plant("INPUT_TYPE", kind)
    with pytest.raises(CheckFailed, match=f"image: INPUT {kind}"):
        opened(pixel_world)


def test_boundaries(world: World) -> None:
    """Events stand around the launch and nothing else; what is bound is launched and waited for, with no copy."""
    world.note_driver()
    engine = opened(world)
    given = engine.pinned(images(1))
    np.testing.assert_array_equal(given, images(1))
    engine.run(given)
    world.calls.clear()
    np.testing.assert_allclose(engine.run(given), expected(given), rtol=1e-6, atol=1e-6)
    up, down = COPIES
    assert world.calls == [up, "cuEventRecord", "launch", "cuEventRecord", down, "cuStreamSynchronize"]
    assert engine.device_ms() == 2.5
    run = engine.bind(images(1))
    world.calls.clear()
    run()
    assert world.calls == ["launch", "cuStreamSynchronize"]
    assert engine.largest_batch == 4


def test_a_bound_run_is_a_graph_too(world: World) -> None:
    world.note_driver()
    engine = opened(world, graph=True)
    run = engine.bind(images(1))
    run()
    world.calls.clear()
    run()
    assert world.calls == (["launch"] if world.backend == TENSORRT_RTX else ["replay", "launch"]) + [
        "cuStreamSynchronize"
    ]


def test_cuda_graphs(world: World) -> None:
    world.note_driver()
    engine = opened(world, graph=True)
    for count in (2, 2, 2, 3, 3):
        np.testing.assert_allclose(engine.run(images(count)), expected(images(count)), rtol=1e-6, atol=1e-6)
    if world.backend == TENSORRT_RTX:
        assert world.configs[-1].cuda_graph_strategy == "whole"
        assert "capture" not in world.calls
    else:  # one capture for each new shape, after one plain launch
        used = [call for call in world.calls if call in ("capture", "replay")]
        assert used == ["capture", "replay", "replay", "capture", "replay"]


def test_rtx_compiles_for_the_shapes_that_are_measured(world: World) -> None:
    opened(world)
    assert len(world.configs) == (world.backend == TENSORRT_RTX)
    for config in world.configs:
        assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
        assert config.cuda_graph_strategy is None
