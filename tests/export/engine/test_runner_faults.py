"""What goes wrong while an engine is opened or run is seen, and told."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.common.errors import BadInput, CheckFailed, NotPossible
from tests.export.engine.fakes import World, expected, images, opened


@pytest.mark.parametrize("graph", [False, True])
def test_what_the_engine_does_not_write_is_seen(world: World, graph: bool) -> None:
    world.note_driver()
    engine = opened(world, graph=graph)
    engine.run(images(4))
    world.plant("WRITES", "3")  # the last pose keeps what lay there, which must not be the earlier run's
    joints = engine.run(images(4))
    assert np.isfinite(joints[:3]).all()
    assert np.isnan(joints[3]).all()
    world.mend("WRITES")
    np.testing.assert_allclose(engine.run(images(4)), expected(images(4)), rtol=1e-6, atol=1e-6)


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
def test_images_that_do_not_fit(world: World, given: NDArray[Any], said: str) -> None:
    engine = opened(world)
    world.calls.clear()
    with pytest.raises(BadInput, match=said):
        engine.run(given)
    assert world.calls == []


@pytest.mark.parametrize(
    ("defect", "kind", "said"),
    [
        (("LOADS_NOTHING", "1"), NotPossible, "does not load .* — planted refusal"),
        (("HAS_NO_ROOM", "1"), NotPossible, "no room to run"),
        (("REFUSES_ADDRESSES", "1"), CheckFailed, "does not take the address of image"),
        (("INPUT_TYPE", "HALF"), CheckFailed, "image: INPUT HALF"),
        (("INPUT_NAME", "input"), CheckFailed, "input: INPUT FLOAT"),
    ],
)
def test_what_the_library_refuses(world: World, defect: tuple[str, str], kind: type[Exception], said: str) -> None:
    world.plant(*defect)
    with pytest.raises(kind, match=said):
        opened(world)


def test_an_engine_for_other_shapes_than_its_record_says(world: World) -> None:
    record = json.loads(world.path.with_name("e.json").read_text())
    record["profile"]["max"][0] = 8
    world.path.with_name("e.json").write_text(json.dumps(record))
    with pytest.raises(CheckFailed, match="other shapes than its record says"):
        opened(world)


def test_a_launch_that_fails(world: World) -> None:
    engine = opened(world)
    world.plant("LAUNCHES", "0")
    with pytest.raises(CheckFailed, match="does not take the launch"):
        engine.run(images(1))


def test_a_shape_that_was_refused_is_not_taken_for_the_contexts(world: World) -> None:
    engine = opened(world)
    engine.run(images(2))
    world.plant("LARGEST_BATCH", "2")
    with pytest.raises(CheckFailed, match=r"does not take the shape \(3, 3, 4, 4\)"):
        engine.run(images(3))
    np.testing.assert_allclose(engine.run(images(2)), expected(images(2)), rtol=1e-6, atol=1e-6)


def test_a_closed_engine_cannot_be_run(world: World) -> None:
    engine = opened(world)
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        engine.run(images(1))
