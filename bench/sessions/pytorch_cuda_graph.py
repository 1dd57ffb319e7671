"""The network as released in PyTorch FP32 on the GPU, recorded once as a CUDA graph and launched as one.

Eager PyTorch launches some hundred kernels one by one, which takes longer than a small network's computing. What an
engine that is launched as a graph gains over eager PyTorch is in part this; against this form it is not.
"""

from typing import Any

from numpy.typing import NDArray

from bench.sessions.exchange import Exchange
from bench.sessions.protocol import Profiler
from bench.sessions.pytorch_cuda import TorchCuda
from export.common.errors import NotPossible

UNRECORDED = 3
"""Runs before recording: libraries choose algorithms and allocate, which cannot be recorded."""


class TorchCudaGraph(TorchCuda):
    """The same kernels as ``TorchCuda``, for one shape at a time: another shape is recorded anew.

    Raises:
        NotPossible: torch does not reach a GPU.
    """

    runtime = "pytorch-cuda-graph"

    def _fitting(self, images: NDArray[Any]) -> Exchange:
        if self._shape != images.shape:
            exchange = super()._fitting(images)
            with self._cuda.on_stream():
                exchange.put(images)
                for _ in range(UNRECORDED):
                    self._record()
            self._cuda.wait()
            self._replay = self._cuda.capture(lambda _: self._record())
        return self._exchange

    def _record(self) -> None:
        """Joints lie where they were while recording: that is the exchange's output, poisoned before each launch."""
        import torch

        with torch.no_grad():  # what is made in inference mode could not be poisoned outside of it
            self._exchange.output = self._network(self._exchange.input)

    def _launch(self) -> Any:
        self._replay()

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        facts = super().facts()
        recorded = {"inference_mode": False, "no_grad": True, "cuda_graph": True}
        return facts | {"options": facts["options"] | recorded}

    def profiler(self) -> Profiler:
        """See ``Profilable``.

        Raises:
            NotPossible: always.
        """
        what = "a CUDA graph tells no time by module"
        raise NotPossible(what, "it is launched as one, without Python", "profile pytorch-cuda, which has its kernels")

    def describe(self) -> str:
        """See ``Session``."""
        return f"{super().describe()}, CUDA graph"
