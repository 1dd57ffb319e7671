"""The released network in PyTorch FP32 on the GPU, with kernels launched one by one, or as one CUDA graph.

Eager PyTorch launches some hundred kernels one by one, which takes longer than the computing of a small network. A
part of what an engine gains over eager PyTorch is its launch as one graph; the CUDA graph has that too.
No GPU has run the profiler yet, nor the memory that torch shares with ``Exchange``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.sessions.gpu_boundaries import LARGEST_BATCH, GpuBoundaries, require_gpu, require_room
from bench.sessions.protocol import Profiler
from bench.sessions.pytorch import PyTorchReference
from export.common.errors import NotPossible
from export.runtime.exchange import BOUNDARIES, Exchange
from export.runtime.gpu import Driver

UNRECORDED_RUNS = 3
"""Runs before a graph is recorded: libraries choose algorithms and allocate, which cannot be recorded."""


class GpuMemory:
    """Float32 memory on the GPU, for libraries that know the CUDA Array Interface."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {"shape": shape, "typestr": "<f4", "data": (address, False), "version": 3}


class TorchGpu:
    """Torch's use of the memory and the stream of an ``Exchange``; tests put the processor in its place.

    Raises:
        NotPossible: torch does not reach a GPU.
    """

    device = "cuda"

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            advice = "install torch built for CUDA, or choose another runtime"
            raise NotPossible("torch reaches no GPU", f"torch {torch.__version__}", advice)

    def tensor(self, address: int, shape: tuple[int, ...]) -> Any:
        """Return the float32 memory at an address as a tensor, without a copy."""
        import torch

        return torch.as_tensor(GpuMemory(address, shape), device=self.device)

    def on_stream(self, handle: int) -> AbstractContextManager[Any]:
        """Return a context in which torch computes on this stream."""
        import torch

        stream: Any = torch.cuda.ExternalStream(handle)  # type: ignore[no-untyped-call]
        context: AbstractContextManager[Any] = torch.cuda.stream(stream)
        return context

    def capture(self, handle: int, launch: Callable[[], object]) -> Callable[[], object]:
        """Record a launch as a CUDA graph; return a function that launches all of it."""
        import torch

        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.ExternalStream(handle)):  # type: ignore[no-untyped-call]
            launch()
        replay: Callable[[], object] = graph.replay
        return replay


class TorchCuda(GpuBoundaries, PyTorchReference):
    """The network as released, neither rewritten nor compiled; TF32 is off.

    The joints are copied to the place that ``Exchange`` reads, a few hundred bytes on the GPU, inside each launch.

    Raises:
        NotPossible: torch does not reach a GPU.
    """

    runtime = "pytorch-cuda"
    largest_batch = LARGEST_BATCH

    def __init__(self, weights: Path, threads: int | None = None, *, torch_gpu: TorchGpu | None = None) -> None:
        import torch

        self._gpu, self._torch = require_gpu(), torch_gpu or TorchGpu()
        super().__init__(weights, threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        size, joints = self._network.architecture.input_size, self._network.architecture.joints
        self._network = self._network.to(self._torch.device)
        self._largest = (LARGEST_BATCH, 3, size, size)
        self._exchange: Exchange | None = Exchange(Driver(), self._largest, (LARGEST_BATCH, joints, 3))
        self._images = self._torch.tensor(int(self._exchange.images.value), self._largest)
        self._joints = self._torch.tensor(int(self._exchange.joints.value), (LARGEST_BATCH, joints, 3))
        self._count = 0

    def _fitting(self, images: NDArray[Any]) -> Exchange:
        require_room(images, self._largest, "float32")
        self._count = len(images)
        return self._open_exchange()

    def _launch(self) -> None:
        import torch

        with torch.inference_mode(), self._torch.on_stream(self._open_exchange().stream_handle):
            self._joints[: self._count].copy_(self._network(self._images[: self._count]))

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        import torch

        facts = super().facts()
        places = sorted({parameter.device.type for parameter in self._network.parameters()})
        tf32 = {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32}
        problems = list(facts["problems"])
        if places != ["cuda"]:
            problems.append(f"parameters are on {', '.join(places)}, not on the GPU")
        if any(tf32.values()):
            problems.append("TF32 is on")
        options = facts["options"] | {"tf32": tf32, "cudnn.benchmark": torch.backends.cudnn.benchmark}
        return facts | {
            "device": str(self._gpu),
            "proof": f"parameters are float32 on {', '.join(places)}, without autocast and TF32",
            "versions": facts["versions"] | {"cuda": torch.version.cuda},
            "options": options | {"cuda_graph": False, "boundaries": BOUNDARIES},
            "problems": problems,
        }

    def profiler(self) -> Profiler:
        """See ``Profilable``."""
        from bench.sessions.torch_profile import TorchProfiler

        return TorchProfiler(self._network, self.run, self._open_exchange().wait)

    def describe(self) -> str:
        """See ``Session``."""
        import torch

        return f"PyTorch {torch.__version__}, eager FP32 without TF32, {self._gpu}"

    def close(self) -> None:
        """See ``Session``."""
        self._network = self._images = self._joints = None
        super().close()


class TorchCudaGraph(TorchCuda):
    """The kernels of ``TorchCuda`` as a CUDA graph for one batch size at a time; another is recorded anew.

    Raises:
        NotPossible: torch does not reach a GPU.
    """

    runtime = "pytorch-cuda-graph"
    _replay: Callable[[], object]

    def _fitting(self, images: NDArray[Any]) -> Exchange:
        before = self._count
        exchange = super()._fitting(images)
        if self._count != before:
            exchange.put(images)
            for _ in range(UNRECORDED_RUNS):
                super()._launch()
            exchange.wait()
            self._replay = self._torch.capture(exchange.stream_handle, super()._launch)
        return exchange

    def _launch(self) -> None:
        with self._torch.on_stream(self._open_exchange().stream_handle):  # torch replays on its current stream
            self._replay()

    def facts(self) -> dict[str, Any]:
        """See ``Accountable``."""
        facts = super().facts()
        return facts | {"options": facts["options"] | {"cuda_graph": True}}

    def profiler(self) -> Profiler:
        """Refuse: a CUDA graph cannot be profiled by module.

        Raises:
            NotPossible: always.
        """
        advice = "profile pytorch-cuda, which has its kernels"
        raise NotPossible("a CUDA graph cannot be profiled by module", "it is launched as a whole", advice)

    def describe(self) -> str:
        """See ``Session``."""
        return f"{super().describe()}, CUDA graph"
