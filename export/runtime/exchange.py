"""Transfer of images to the GPU and of joints back, for every session there.

A run copies the images to the GPU, fills the joints with NaN so that no old result can be read, records an event,
launches, records an event, copies the joints back and waits. The fill, a few bytes, counts in ``host_e2e`` but not in
``device``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import CheckFailed
from .gpu import Address, Driver, Handle

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUNDARIES = {
    "host_e2e": "host to GPU, launch, GPU to host, wait for the stream; images and joints in pinned memory",
    "host_nocopy": "launch and wait for the stream; images and joints stay on the GPU, their addresses set once",
    "device": "CUDA events around the launch, on its stream",
    "wait": "cudaStreamSynchronize, which spins or blocks as the driver chooses",
}
"""Boundary of a measurement → the part of a call that it times."""

NON_BLOCKING, THREAD_LOCAL = 1, 1
"""``CU_STREAM_NON_BLOCKING``: TensorRT synchronises needlessly on the default stream.
``CU_STREAM_CAPTURE_MODE_THREAD_LOCAL``."""
NAN_BITS = 0xFFFFFFFF


class Exchange:
    """Memory for the largest batch, on the GPU and pinned on the host, and one stream.

    Raises:
        CheckFailed: the driver refuses.
    """

    def __init__(
        self, driver: Driver, images: tuple[int, ...], joints: tuple[int, ...], *, pixels: bool = False
    ) -> None:
        self._driver, self._joint_shape, self._kind = driver, joints, np.dtype(np.uint8 if pixels else np.float32)
        self._pinned: dict[int, ctypes.c_void_p] = {}
        self._owned: list[tuple[str, Any]] = []
        """(function that releases it, handle), in the order of creation."""
        device, self.context, self.stream = ctypes.c_int(0), Handle(), Handle()
        self._begin, self._end = Handle(), Handle()
        self._graph: tuple[ctypes.c_void_p, ctypes.c_void_p] | None = None
        try:
            driver.call("cuInit", 0)
            driver.call("cuDeviceGet", ctypes.byref(device), 0)
            # TensorRT uses the primary context.
            driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), device)
            driver.call("cuCtxSetCurrent", self.context)
            driver.call("cuStreamCreate", ctypes.byref(self.stream), NON_BLOCKING)
            self._owned.append(("cuStreamDestroy_v2", self.stream))
            for event in (self._begin, self._end):
                driver.call("cuEventCreate", ctypes.byref(event), 0)
                self._owned.append(("cuEventDestroy_v2", event))
            self.images, self._host_images = self._allocate(self._kind.itemsize * _count(images))
            self.joints, self._host_joints = self._allocate(4 * _count(joints))
        except RuntimeError as error:
            self.close()
            raise CheckFailed("no memory on the GPU", str(error), "close what else uses the GPU") from error

    @property
    def stream_handle(self) -> int:
        """The stream, as TensorRT and ONNX Runtime take it."""
        return int(self.stream.value or 0)

    def run(self, images: NDArray[Any], launch: Callable[[], object]) -> NDArray[np.float32]:
        """Return the (N, J, 3) joints of (N, …) images, a copy."""
        self.put(images)
        self._driver.call("cuEventRecord", self._begin, self.stream)
        launch()
        self._driver.call("cuEventRecord", self._end, self.stream)
        return self.take(len(images))

    def put(self, images: NDArray[Any]) -> None:
        """Copy images to the GPU, directly from ``pinned`` memory, and fill the joints with NaN."""
        self._driver.call("cuCtxSetCurrent", self.context)
        source = self._pinned.get(images.ctypes.data)
        if source is None or not images.flags.c_contiguous:
            source = self._host_images
            _view(source, self._kind, images.shape)[...] = images
        size = self._kind.itemsize * images.size
        self._driver.call("cuMemcpyHtoDAsync_v2", self.images, source, size, self.stream)
        self._driver.call("cuMemsetD32Async", self.joints, NAN_BITS, _count(self._joint_shape), self.stream)

    def take(self, count: int) -> NDArray[np.float32]:
        """Return a copy of the first ``count`` images' joints, after all work on the stream."""
        shape = (count, *self._joint_shape[1:])
        self._driver.call("cuMemcpyDtoHAsync_v2", self._host_joints, self.joints, 4 * _count(shape), self.stream)
        self.wait()
        joints: NDArray[np.float32] = _view(self._host_joints, np.dtype(np.float32), shape).copy()
        return joints

    def wait(self) -> None:
        """Wait for all work on the stream."""
        self._driver.call("cuStreamSynchronize", self.stream)

    def resident(self, images: NDArray[Any], launch: Callable[[], object]) -> Callable[[], object]:
        """Copy images to the GPU; return a function that launches on them and waits.

        There is room for one batch: a later call replaces the images of an earlier one.
        """
        self.put(images)
        self.wait()

        def run() -> None:
            self._driver.call("cuCtxSetCurrent", self.context)
            launch()
            self.wait()

        return run

    def pinned(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of images in pinned memory, which lives as long as this object."""
        address = self._allocate_host(images.nbytes)
        copy = _view(address, images.dtype, images.shape)
        copy[...] = images
        self._pinned[copy.ctypes.data] = address
        return copy

    def device_ms(self) -> float:
        """Return the duration of the last launch on the GPU in ms."""
        duration = ctypes.c_float(0)
        self._driver.call("cuEventElapsedTime", ctypes.byref(duration), self._begin, self._end)
        return float(duration.value)

    def capture(self, launch: Callable[[], object]) -> Callable[[], object]:
        """Record the work of ``launch`` as a CUDA graph; return a function that launches the graph."""
        graph, runnable = Handle(), Handle()
        self._driver.call("cuStreamBeginCapture_v2", self.stream, THREAD_LOCAL)
        try:
            launch()
        finally:
            self._driver.call("cuStreamEndCapture", self.stream, ctypes.byref(graph))
        self._driver.call("cuGraphInstantiateWithFlags", ctypes.byref(runnable), graph, 0)
        self._forget_graph()
        self._graph = graph, runnable
        return lambda: self._driver.call("cuGraphLaunch", runnable, self.stream)

    def close(self) -> None:
        """Release all memory."""
        self._forget_graph()
        self._pinned = {}
        while self._owned:
            self._driver.call(*self._owned.pop())

    def _forget_graph(self) -> None:
        if self._graph is not None:
            graph, runnable = self._graph
            self._graph = None
            self._driver.call("cuGraphExecDestroy", runnable)
            self._driver.call("cuGraphDestroy", graph)

    def _allocate(self, size: int) -> tuple[ctypes.c_uint64, ctypes.c_void_p]:
        on_gpu = Address(0)
        self._driver.call("cuMemAlloc_v2", ctypes.byref(on_gpu), size)
        self._owned.append(("cuMemFree_v2", on_gpu))
        return on_gpu, self._allocate_host(size)

    def _allocate_host(self, size: int) -> ctypes.c_void_p:
        on_host = Handle()
        self._driver.call("cuMemAllocHost_v2", ctypes.byref(on_host), size)
        self._owned.append(("cuMemFreeHost", on_host))
        return on_host


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _view(address: ctypes.c_void_p, kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    memory = (ctypes.c_uint8 * (kind.itemsize * _count(shape))).from_address(int(address.value or 0))
    array: NDArray[Any] = np.ctypeslib.as_array(memory).view(kind).reshape(shape)
    return array
