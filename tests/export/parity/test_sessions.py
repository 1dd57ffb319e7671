"""Files run image by image, and a part of the images in batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.parity import sessions
from export.parity.sessions import BATCHED_IMAGES, ParityRuntime, run_everywhere


class ReversesBatches:
    """A session that gives its input back, in the wrong order."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, images: Any) -> Any:
        self.sizes.append(len(images))
        return images[::-1]


def test_a_runtime_that_mixes_up_the_images_of_a_batch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = ReversesBatches()
    monkeypatch.setattr(sessions, "parity_runtimes", lambda _: ((ParityRuntime("wrong", lambda *_: wrong),), {}))
    images = np.arange(40 * 3, dtype=np.uint8).reshape(40, 1, 3)
    ((runtime, session, joints),) = run_everywhere(Path("a.onnx"), "fp32", images, lambda *_: None)
    assert (runtime.name, session) == ("wrong", wrong)
    assert wrong.sizes == [1] * 40 + [5, 5, 5, 3]
    assert np.array_equal(joints[1], images)
    differs = (joints[5] != images).any(axis=(1, 2))
    assert differs[:BATCHED_IMAGES].sum() == BATCHED_IMAGES - 4  # the middle ones of odd batches stay
    assert not differs[BATCHED_IMAGES:].any()
