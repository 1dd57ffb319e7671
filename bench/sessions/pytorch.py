"""The network as released, in PyTorch FP32 on the CPU: the reference that all else is compared with."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.machine.system import usable_cores
from bench.sessions.protocol import Joints, Profiler


class PyTorchReference:
    """Not rewritten, not converted."""

    runtime = "pytorch"
    precision = "fp32"
    takes_pixels = False

    def __init__(self, weights: Path, threads: int | None = None) -> None:
        import torch

        from export.model.weights_file import load_network

        self.threads = threads or usable_cores()
        torch.set_num_threads(self.threads)
        self._network: Any = load_network(weights)

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Session``."""
        import torch

        with torch.inference_mode():
            joints: Joints = self._network(torch.from_numpy(images)).numpy()
        return joints

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        import torch

        threads = torch.get_num_threads()
        dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in self._network.parameters()})
        problems = [] if threads == self.threads else [f"{threads} threads, not {self.threads}"]
        if dtypes != ["float32"]:
            problems.append(f"parameters are {', '.join(dtypes)}, not float32")
        return {
            "device": "CPU",
            "precision_used": self.precision,
            "proof": f"parameters are {', '.join(dtypes)}, on the CPU, without autocast",
            "threads": threads,
            "versions": {"torch": torch.__version__},
            "options": {"inference_mode": True},
            "problems": problems,
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``: the network itself, with clocks in it from now on."""
        from bench.sessions.torch_profile import TorchProfiler

        return TorchProfiler(self._network, self.run)

    def describe(self) -> str:
        """See ``Session``."""
        import torch

        return f"PyTorch {torch.__version__}, CPU, threads: {self.threads}"

    def close(self) -> None:
        """See ``Session``."""
        self._network = None
