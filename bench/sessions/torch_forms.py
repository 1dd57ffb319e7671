"""The same network in the forms in which PyTorch is fast: what an export has to beat to be worth it."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.protocol import Joints, Profiler
from bench.sessions.pytorch import PyTorchReference
from export.common.errors import NotPossible


class TorchChannelsLast(PyTorchReference):
    """Weights and images with the channels innermost, as oneDNN's convolutions like them."""

    runtime = "pytorch-channels-last"

    def __init__(self, weights: Path, threads: int | None = None) -> None:
        import torch

        super().__init__(weights, threads)
        self._network = self._network.to(memory_format=torch.channels_last)

    def run(self, images: NDArray[Any]) -> Joints:
        """See ``Session``; turning the images counts."""
        import torch

        with torch.inference_mode():
            turned = torch.from_numpy(images).to(memory_format=torch.channels_last)
            joints: Joints = self._network(turned).numpy()
        return joints

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        facts = super().facts()
        return facts | {"options": facts["options"] | {"memory_format": "channels_last"}}


class TorchCompiled(TorchChannelsLast):
    """Compiled by Inductor for this shape, channels innermost. The first run compiles, for a minute or so."""

    runtime = "pytorch-compile"

    def __init__(self, weights: Path, threads: int | None = None) -> None:
        import torch

        super().__init__(weights, threads)
        self._network = torch.compile(self._network)

    def profiler(self) -> Profiler:
        """See ``Profilable``.

        Raises:
            NotPossible: always.
        """
        what = "torch.compile tells no time by module"
        raise NotPossible(what, "its kernels are made of operators of several modules", "profile another runtime")

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``; more than one compiled graph means a break, or a compilation while measuring."""
        from torch._dynamo.utils import counters

        facts = super().facts()
        graphs = counters["stats"].get("unique_graphs", 0)
        problems = [*facts["problems"]] if graphs == 1 else [*facts["problems"], f"{graphs} compiled graphs, not one"]
        options = facts["options"] | {"torch.compile": "inductor, default mode", "graphs": graphs}
        return facts | {"options": options, "problems": problems}
