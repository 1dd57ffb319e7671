"""The processor's memory in place of a GPU's, for backends that are tested without one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bench.sessions.cuda import Cuda, Timer


class HostTimer(Timer):
    """Events of which each pair is 2.5 ms apart, if it was recorded in order."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def begin(self) -> None:
        self.calls.append("begin")

    def end(self) -> None:
        self.calls.append("end")

    def ms(self) -> float:
        assert [call for call in self.calls if call in ("begin", "end")][-2:] == ["begin", "end"]
        return 2.5


class Host(Cuda):
    """The processor's memory in place of the GPU's."""

    device, handle = "cpu", 77

    def __init__(self, calls: list[str] | None = None) -> None:
        self.calls = [] if calls is None else calls

    def on_stream(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def pinned(self, shape: tuple[int, ...], *, pixels: bool = False) -> Any:
        self.calls.append("pinned")
        return self.empty(shape, pixels=pixels)

    def timer(self) -> Timer:
        return HostTimer(self.calls)

    def wait(self) -> None:
        self.calls.append("wait")

    def capture(self, launch: Callable[[int], None]) -> Callable[[], None]:
        self.calls.append("capture")

        def replay() -> None:
            self.calls.append("replay")
            launch(self.handle)

        return replay
