"""Base of sessions on a GPU: their ``Exchange`` answers what a benchmark asks."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import Joints
from export.common.errors import BadInput, NotPossible
from export.runtime.exchange import Exchange
from export.runtime.gpu import Gpu, default_gpu

LARGEST_BATCH = 16
"""Room for images, where the model itself sets no limit: the largest batch of a throughput sweep."""


class GpuBoundaries(ABC):
    """The boundaries of a session on a GPU: whole runs, bound and pinned memory, and CUDA events."""

    _exchange: Exchange | None

    def run(self, images: NDArray[Any]) -> Joints:
        """Return the joints of one batch; what the model does not write is NaN."""
        return self._fitting(images).run(images, self._launch)

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """See ``Bindable``."""
        return self._fitting(images).resident(images, self._launch)

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``Pinning``."""
        return self._open_exchange().pinned(images)

    def device_ms(self) -> float:
        """See ``SelfTiming``: CUDA events around the last launch."""
        return self._open_exchange().device_ms()

    def close(self) -> None:
        """Release the memory on the GPU."""
        if self._exchange is not None:
            self._exchange.close()
        self._exchange = None

    def _open_exchange(self) -> Exchange:
        if self._exchange is None:
            raise ValueError("the session is closed")
        return self._exchange

    @abstractmethod
    def _fitting(self, images: NDArray[Any]) -> Exchange:
        """Return the memory, after the model has been prepared for images of this shape."""

    @abstractmethod
    def _launch(self) -> None:
        """Put the model's work on the exchange's stream."""


def require_gpu() -> Gpu:
    """Return the GPU that programs get by default.

    Raises:
        NotPossible: there is none.
    """
    gpu, reason = default_gpu()
    if gpu is None:
        raise NotPossible("this runtime needs an NVIDIA GPU", reason, "choose onnxruntime, openvino or pytorch")
    return gpu


def require_room(images: NDArray[Any], largest: tuple[int, ...], kind: str) -> None:
    """Check that images fit into memory for this shape and type.

    Raises:
        BadInput: they do not.
    """
    if images.dtype != kind or images.shape[1:] != largest[1:] or not 1 <= len(images) <= largest[0]:
        advice = f"give 1 to {largest[0]} images of {largest[1:]} {kind}"
        raise BadInput("these images do not fit the model", f"{images.shape} {images.dtype}", advice)
