"""The first NVIDIA GPU, through its driver alone: no CUDA toolkit and no other package is needed."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pose_runtime.errors import CheckFailed, NotPossible

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRIVER = "libcuda.so.1"
MAJOR, MINOR, MULTIPROCESSORS = 75, 76, 16
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR``, ``_MINOR`` and ``CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT``."""
NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``."""
NAN_BITS = 0xFFFFFFFF

Handle, Address, Size = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t

SIGNATURES = {
    "cuInit": (ctypes.c_uint,),
    "cuDeviceGetCount": (ctypes.POINTER(ctypes.c_int),),
    "cuDeviceGet": (ctypes.POINTER(ctypes.c_int), ctypes.c_int),
    "cuDeviceGetName": (ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
    "cuDeviceTotalMem_v2": (ctypes.POINTER(Size), ctypes.c_int),
    "cuDeviceGetAttribute": (ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(Handle), ctypes.c_int),
    "cuCtxSetCurrent": (Handle,),
    "cuStreamCreate": (ctypes.POINTER(Handle), ctypes.c_uint),
    "cuStreamSynchronize": (Handle,),
    "cuStreamDestroy_v2": (Handle,),
    "cuMemAlloc_v2": (ctypes.POINTER(Address), Size),
    "cuMemFree_v2": (Address,),
    "cuMemAllocHost_v2": (ctypes.POINTER(Handle), Size),
    "cuMemFreeHost": (Handle,),
    "cuMemcpyHtoDAsync_v2": (Address, Handle, Size, Handle),
    "cuMemcpyDtoHAsync_v2": (Handle, Address, Size, Handle),
    "cuMemsetD32Async": (Address, ctypes.c_uint, Size, Handle),
}
"""NVIDIA's ``cuda.h``; every function returns a status."""


class Gpu(NamedTuple):
    """One GPU. The name alone does not tell it: Jetsons of several sizes may have the same, as "Orin"."""

    name: str
    compute_capability: str
    """As in 8.7."""
    memory_bytes: int
    """All of it; on a Jetson it is the processor's as well."""
    multiprocessors: int

    def __str__(self) -> str:
        parts = (
            f"{self.compute_capability}, {self.multiprocessors} multiprocessors, {self.memory_bytes / 2**30:.1f} GiB"
        )
        return f"{self.name} ({parts})"


class Driver:
    """The driver's functions with their types, each checked.

    Raises:
        NotPossible: there is no driver.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(DRIVER)
        except OSError as error:
            do = "choose openvino or onnxruntime, or a device with an NVIDIA GPU"
            raise NotPossible("engines run on an NVIDIA GPU only", f"no NVIDIA driver ({DRIVER})", do) from error
        for name, arguments in SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int

    def call(self, name: str, *arguments: Any) -> None:
        """Call it.

        Raises:
            CheckFailed: its status is not 0.
        """
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise CheckFailed("the NVIDIA driver refuses", f"{name}: error {status}", "close what else uses the GPU")


def first_gpu(driver: Driver | None = None) -> Gpu:
    """The GPU that programs get by default. TensorRT must not be asked: it crashes where no driver answers.

    Raises:
        NotPossible: there is none.
    """
    driver = driver or Driver()
    try:
        driver.call("cuInit", 0)
        count, device, memory = ctypes.c_int(0), ctypes.c_int(0), Size(0)
        driver.call("cuDeviceGetCount", ctypes.byref(count))
        if not count.value > 0:
            raise NotPossible("engines run on an NVIDIA GPU only", "the driver sees none", "choose another runtime")
        name = ctypes.create_string_buffer(256)
        driver.call("cuDeviceGet", ctypes.byref(device), 0)
        driver.call("cuDeviceGetName", name, 256, device)
        driver.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        numbers = []
        for attribute in (MAJOR, MINOR, MULTIPROCESSORS):
            number = ctypes.c_int(0)
            driver.call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
            numbers.append(number.value)
    except CheckFailed as refusal:
        raise NotPossible(refusal.what, refusal.seen, "choose another runtime") from refusal
    major, minor, multiprocessors = numbers
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", memory.value, multiprocessors)


class Exchange:
    """Memory for the largest batch on the GPU and, pinned, on the host; and one stream on which all is done."""

    def __init__(self, driver: Driver, images: tuple[int, ...], joints: tuple[int, ...]) -> None:
        self._driver, self._joint_shape = driver, joints
        device, self.context, self.stream = ctypes.c_int(0), Handle(), Handle()
        driver.call("cuInit", 0)
        driver.call("cuDeviceGet", ctypes.byref(device), 0)
        # The primary context is the one that TensorRT uses; nothing else on it is touched.
        driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), device)
        driver.call("cuCtxSetCurrent", self.context)
        driver.call("cuStreamCreate", ctypes.byref(self.stream), NON_BLOCKING)
        self.images, self._host_images = self._allocate(images)
        self.joints, self._host_joints = self._allocate(joints)

    @property
    def stream_handle(self) -> int:
        """The stream, as TensorRT takes it."""
        return int(self.stream.value or 0)

    def put(self, images: NDArray[np.float32]) -> None:
        """(N, …) float32 to the GPU, and NaN where joints will be, so that nothing old is taken for a result."""
        self._driver.call("cuCtxSetCurrent", self.context)
        count = images.size
        _view(self._host_images, (count,))[:] = images.reshape(-1)
        self._driver.call("cuMemcpyHtoDAsync_v2", self.images, self._host_images, 4 * count, self.stream)
        words = int(np.prod(self._joint_shape))
        self._driver.call("cuMemsetD32Async", self.joints, NAN_BITS, words, self.stream)

    def take(self, count: int) -> NDArray[np.float32]:
        """The first ``count`` images' joints, a copy, after all that was put on the stream is done."""
        shape = (count, *self._joint_shape[1:])
        size = 4 * int(np.prod(shape))
        self._driver.call("cuMemcpyDtoHAsync_v2", self._host_joints, self.joints, size, self.stream)
        self._driver.call("cuStreamSynchronize", self.stream)
        return _view(self._host_joints, shape).copy()

    def close(self) -> None:
        """Give all memory back."""
        for address, host in ((self.images, self._host_images), (self.joints, self._host_joints)):
            self._driver.call("cuMemFree_v2", address)
            self._driver.call("cuMemFreeHost", host)
        self._driver.call("cuStreamDestroy_v2", self.stream)

    def _allocate(self, shape: tuple[int, ...]) -> tuple[ctypes.c_uint64, ctypes.c_void_p]:
        size, on_gpu, on_host = 4 * int(np.prod(shape)), Address(0), Handle()
        self._driver.call("cuMemAlloc_v2", ctypes.byref(on_gpu), size)
        self._driver.call("cuMemAllocHost_v2", ctypes.byref(on_host), size)
        return on_gpu, on_host


def _view(address: ctypes.c_void_p, shape: tuple[int, ...]) -> NDArray[np.float32]:
    memory = (ctypes.c_float * int(np.prod(shape))).from_address(int(address.value or 0))
    return np.ctypeslib.as_array(memory).reshape(shape)
