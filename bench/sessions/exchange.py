"""``export.runtime.exchange`` in torch's terms, for sessions whose memory torch holds."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.sessions.cuda import Cuda
from bench.sessions.protocol import Joints


class Exchange:
    """Memory on the GPU for up to so many images and their joints, and the way there and back on one stream.

    A run is: images up, joints poisoned with NaN (so that nothing old is taken for a result), an event, the launch, an
    event, joints down, wait. The poisoning, a few bytes, is part of ``host_e2e`` and not of ``device``.
    """

    def __init__(
        self, cuda: Cuda, images: tuple[int, ...], joints: tuple[int, ...] | None = None, *, pixels: bool = False
    ) -> None:
        """Allocate for these shapes; without ``joints`` the launch returns a tensor of its own."""
        self.input = cuda.empty(images, pixels=pixels)
        self.output = cuda.empty(joints) if joints is not None else None
        self._cuda, self._timer = cuda, cuda.timer()
        self._host: Any = None

    def run(self, images: NDArray[Any], launch: Callable[[], Any]) -> Joints:
        """(N, …) images → (N, J, 3) joints, a copy."""
        count = len(images)
        with self._cuda.on_stream():
            self.put(images)
            if self.output is not None:
                self.output[:count].fill_(math.nan)
            self._timer.begin()
            made = launch()
            self._timer.end()
            source = made if self.output is None else self.output[:count]
            host = self._host_like(source)
            host.copy_(source, non_blocking=True)
        self._cuda.wait()
        joints: Joints = host.numpy().copy()
        return joints

    def put(self, images: NDArray[Any]) -> None:
        """Images to the GPU, on the current stream; from pinned memory the GPU fetches them by itself."""
        import torch

        self.input[: len(images)].copy_(torch.from_numpy(np.ascontiguousarray(images)), non_blocking=True)

    def resident(self, images: NDArray[Any], launch: Callable[[], Any]) -> Callable[[], object]:
        """Return a function that launches on images that are on the GPU already, and waits.

        There is one place for images: of several that are bound the last stays there.
        """
        with self._cuda.on_stream():
            self.put(images)
        self._cuda.wait()

        def run() -> None:
            with self._cuda.on_stream():
                launch()
            self._cuda.wait()

        return run

    def device_ms(self) -> float:
        """Return how long the last launch took on the GPU."""
        return self._timer.ms()

    def _host_like(self, source: Any) -> Any:
        if self._host is None or self._host.shape != source.shape:
            self._host = self._cuda.pinned(tuple(source.shape))
        return self._host


def pinned_copy(cuda: Cuda, images: NDArray[Any]) -> NDArray[Any]:
    """The same images in memory that the GPU reads by itself."""
    place: NDArray[Any] = cuda.pinned(images.shape, pixels=images.dtype == np.uint8).numpy()
    place[...] = images
    return place
