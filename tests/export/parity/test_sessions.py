"""Files run image by image and in batches; the simulation, whose kernels are known, image by image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.parity import sessions
from export.parity.sessions import ParityRuntime, run_everywhere


class ReversesBatches:
    """A session that gives its input back, in the wrong order."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, images: Any) -> Any:
        self.sizes.append(len(images))
        return images[::-1]


@pytest.mark.parametrize("is_simulation", [False, True])
def test_a_runtime_that_mixes_up_the_images_of_a_batch_is_found(
    is_simulation: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: Any = ReversesBatches()
    runtime = ParityRuntime("wrong", lambda *_: wrong)
    monkeypatch.setattr(sessions, "parity_runtimes", lambda _: ((runtime,), {}))
    if is_simulation:
        monkeypatch.setattr(sessions, "SIMULATION", runtime)
    images = np.arange(8 * 3, dtype=np.uint8).reshape(8, 1, 3)
    ((_, _, joints),) = run_everywhere(Path("a.onnx"), "fp32", images, lambda *_: None)
    assert wrong.sizes == [1] * 8 + ([] if is_simulation else [5, 3])
    assert np.array_equal(joints[1], images)
    assert (5 in joints and not np.array_equal(joints[5], images)) == (not is_simulation)
