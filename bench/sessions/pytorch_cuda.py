"""The network as released, in eager PyTorch FP32 on the GPU: what an engine has to beat to be worth it there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.cuda import Cuda
from bench.sessions.exchange import Exchange, pinned_copy
from bench.sessions.protocol import Joints, Profiler
from bench.sessions.pytorch import PyTorchReference
from export.common.gpu import device_name
from export.runtime.exchange import BOUNDARIES


class TorchCuda(PyTorchReference):
    """Not rewritten, not compiled, kernels launched one by one; TF32 is off.

    Raises:
        NotPossible: torch does not reach a GPU.
    """

    runtime = "pytorch-cuda"

    def __init__(self, weights: Path, threads: int | None = None, *, cuda: Cuda | None = None) -> None:
        import torch

        self._cuda = cuda or Cuda()
        super().__init__(weights, threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self._network = self._network.to(self._cuda.device)
        self._shape: tuple[int, ...] | None = None
        self._exchange: Exchange

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Session``."""
        return self._fitting(images).run(images, self._launch)

    def bind(self, images: NDArray[Any]) -> Callable[[], object]:
        """See ``Bindable``."""
        return self._fitting(images).resident(images, self._launch)

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``Pinning``."""
        return pinned_copy(self._cuda, images)

    def device_ms(self) -> float:
        """See ``SelfTiming``: CUDA events around the last forward pass."""
        return self._exchange.device_ms()

    def _fitting(self, images: NDArray[Any]) -> Exchange:
        if self._shape != images.shape:
            self._exchange, self._shape = Exchange(self._cuda, images.shape), images.shape
        return self._exchange

    def _launch(self) -> Any:
        import torch

        with torch.inference_mode():
            return self._network(self._exchange.input)

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        import torch

        facts = super().facts()
        places = sorted({parameter.device.type for parameter in self._network.parameters()})
        tf32 = {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32}
        problems = list(facts["problems"])
        if places != ["cuda"]:
            problems.append(f"parameters lie on {', '.join(places)}, not on the GPU")
        if any(tf32.values()):
            problems.append("TF32 is on")
        options = facts["options"] | {"tf32": tf32, "cudnn.benchmark": torch.backends.cudnn.benchmark}
        return facts | {
            "device": device_name() or "no NVIDIA GPU",
            "proof": f"parameters are float32 on {', '.join(places)}, without autocast and TF32",
            "versions": facts["versions"] | {"cuda": torch.version.cuda},
            "options": options | {"cuda_graph": False, "boundaries": BOUNDARIES},
            "problems": problems,
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``. No GPU has run it yet."""
        from bench.sessions.torch_profile import TorchProfiler

        return TorchProfiler(self._network, self.run, self._cuda.wait)

    def describe(self) -> str:
        """See ``Session``."""
        import torch

        return f"PyTorch {torch.__version__}, eager FP32 without TF32, {device_name() or 'no NVIDIA GPU'}"
