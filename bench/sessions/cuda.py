"""The GPU's memory and one stream on it, through torch, which is there anyway."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from export.common.errors import NotPossible


class Timer:
    """Two events on one stream; what was launched between them is timed by the GPU's own clock."""

    def __init__(self, stream: Any) -> None:
        import torch

        self._stream = stream
        self._begin, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    def begin(self) -> None:
        """Before the launch."""
        self._begin.record(self._stream)

    def end(self) -> None:
        """After it."""
        self._end.record(self._stream)

    def ms(self) -> float:
        """Between the two, once the stream has been waited for."""
        return float(self._begin.elapsed_time(self._end))


class Cuda:
    """The first GPU, with a stream of its own: TensorRT synchronises needlessly on the default one.

    Raises:
        NotPossible: torch does not reach a GPU.
    """

    device: str = "cuda"

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            do = "install torch built for CUDA, on a machine with an NVIDIA GPU"
            raise NotPossible("torch reaches no GPU, and it holds the GPU's memory", f"torch {torch.__version__}", do)
        self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @property
    def handle(self) -> int:
        """The stream, as TensorRT and ONNX Runtime take it."""
        return int(self.stream.cuda_stream)

    def on_stream(self) -> AbstractContextManager[Any]:
        """Within it, torch copies, fills and computes on this stream."""
        import torch

        context: AbstractContextManager[Any] = torch.cuda.stream(self.stream)
        return context

    def empty(self, shape: tuple[int, ...], *, pixels: bool = False) -> Any:
        """A float32 tensor on the GPU, or one of bytes, for work on this stream."""
        import torch

        with self.on_stream():
            return torch.empty(shape, dtype=torch.uint8 if pixels else torch.float32, device=self.device)

    def pinned(self, shape: tuple[int, ...], *, pixels: bool = False) -> Any:
        """The same on the host, in memory that the GPU reads and writes by itself."""
        import torch

        return torch.empty(shape, dtype=torch.uint8 if pixels else torch.float32, pin_memory=True)

    def timer(self) -> Timer:
        """Events on this stream, made beforehand."""
        return Timer(self.stream)

    def wait(self) -> None:
        """Until all that was put on the stream is done."""
        self.stream.synchronize()

    def capture(self, launch: Callable[[int], None]) -> Callable[[], None]:
        """Record what ``launch`` puts on a stream as a CUDA graph; returns what launches all of it at once."""
        import torch

        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            launch(self.handle)
        replay: Callable[[], None] = graph.replay
        return replay
