"""The processor in place of a GPU, for sessions that are tested without one; the driver is ``fake_driver.c``."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from bench.sessions.pytorch_cuda import TorchGpu
from export.runtime.gpu import Driver

COPIES = ("cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2")
DEFAULT_STREAM = 0
NOTED = (*COPIES, "cuMemAllocHost_v2", "cuEventRecord", "cuStreamSynchronize")


def note_driver(patch: pytest.MonkeyPatch, calls: list[str]) -> None:
    """Add the driver's copies, events and waits to ``calls``."""
    call = Driver.call

    def noted(driver: Driver, name: str, *arguments: Any) -> None:
        if name in NOTED:
            calls.append(name)
        call(driver, name, *arguments)

    patch.setattr(Driver, "call", noted)


class HostTorch(TorchGpu):
    """Torch on the processor, in the memory of the fake driver."""

    device = "cpu"

    def __init__(self, calls: list[str] | None = None) -> None:
        self.calls = [] if calls is None else calls
        self.stream = DEFAULT_STREAM

    def tensor(self, address: int, shape: tuple[int, ...]) -> Any:
        memory = (ctypes.c_float * int(np.prod(shape))).from_address(address)
        return torch.from_numpy(np.ctypeslib.as_array(memory).reshape(shape))

    @contextmanager
    def on_stream(self, handle: int) -> Iterator[None]:
        before, self.stream = self.stream, handle
        yield
        self.stream = before

    def capture(self, handle: int, launch: Callable[[], object]) -> Callable[[], object]:
        self.calls.append("capture")

        def replay() -> None:
            assert self.stream == handle, "torch replays on its current stream, which is another"
            self.calls.append("replay")
            launch()

        return replay
