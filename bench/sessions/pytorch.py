"""The released network in PyTorch FP32 on the CPU: the reference, and the forms in which PyTorch is faster."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import Joints, Profiler
from export.common.errors import NotPossible
from export.runtime.processor import default_threads


class PyTorchReference:
    """The network as released: not rewritten, not converted."""

    runtime = "pytorch"
    precision = "fp32"
    takes_pixels = False

    def __init__(self, weights: Path, threads: int | None = None) -> None:
        import torch

        from export.model.weights_file import load_network

        self.threads = threads or default_threads()
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
        """See ``Profilable``: the network itself, from now on with clocks in it."""
        from bench.sessions.torch_profile import TorchProfiler

        return TorchProfiler(self._network, self.run)

    def describe(self) -> str:
        """See ``Session``."""
        import torch

        return f"PyTorch {torch.__version__}, CPU, threads: {self.threads}"

    def close(self) -> None:
        """See ``Session``."""
        self._network = None


class TorchChannelsLast(PyTorchReference):
    """The network with channels innermost in weights and images, which oneDNN's convolutions prefer."""

    runtime = "pytorch-channels-last"

    def __init__(self, weights: Path, threads: int | None = None) -> None:
        import torch

        super().__init__(weights, threads)
        self._network = self._network.to(memory_format=torch.channels_last)

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Session``; the conversion of the images counts."""
        import torch

        with torch.inference_mode():
            converted = torch.from_numpy(images).to(memory_format=torch.channels_last)
            joints: Joints = self._network(converted).numpy()
        return joints

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        facts = super().facts()
        return facts | {"options": facts["options"] | {"memory_format": "channels_last"}}


class TorchCompiled(TorchChannelsLast):
    """The network compiled by Inductor, channels innermost. The first run compiles for about a minute."""

    runtime = "pytorch-compile"

    def __init__(self, weights: Path, threads: int | None = None) -> None:
        import torch

        super().__init__(weights, threads)
        self._network = torch.compile(self._network)

    def profiler(self) -> Profiler:
        """Refuse: a compiled network cannot be profiled by module.

        Raises:
            NotPossible: always.
        """
        detail = "its kernels combine operators of several modules"
        raise NotPossible("torch.compile cannot be profiled by module", detail, "profile another runtime")

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``; several compiled graphs mean a break, or a compilation while measuring."""
        from torch._dynamo.utils import counters

        facts = super().facts()
        graphs = counters["stats"].get("unique_graphs", 0)
        problems = facts["problems"] + ([] if graphs == 1 else [f"{graphs} compiled graphs, not one"])
        options = facts["options"] | {"torch.compile": "inductor, default mode", "graphs": graphs}
        return facts | {"options": options, "problems": problems}
