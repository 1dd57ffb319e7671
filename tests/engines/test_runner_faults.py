"""What goes wrong while an engine is opened or run is seen, and told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.errors import BadInput, CheckFailed, NotPossible
from tests.engines.files import SHAPE
from tests.engines.stand_in import FLOAT, HALF, INPUT, OUTPUT, World, expected, images, opened


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
