"""NVIDIA's driver, called directly: no CUDA toolkit and no other package is needed.

TensorRT must not be asked for a GPU: it crashes where no driver answers.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from .errors import NotPossible

DRIVER = "libcuda.so.1"
NO_GPU = "the NVIDIA driver sees no GPU"
MAJOR, MINOR, MULTIPROCESSORS = 75, 76, 16
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR``, ``_MINOR`` and ``CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT``."""
SAME_MEMORY = 0.1
"""Share by which the memory of two modules of one size may differ: a Jetson's kernel sets some of it aside, how much
depends on settings. Modules of one generation are made with 4, 8, 16, 32 or 64 GB."""

Handle, Address, Size = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t

SIGNATURES = {
    "cuInit": (ctypes.c_uint,),
    "cuDeviceGetCount": (ctypes.POINTER(ctypes.c_int),),
    "cuDeviceGet": (ctypes.POINTER(ctypes.c_int), ctypes.c_int),
    "cuDeviceGetName": (ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
    "cuDeviceTotalMem_v2": (ctypes.POINTER(Size), ctypes.c_int),
    "cuDeviceGetAttribute": (ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int),
    "cuDeviceGetPCIBusId": (ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(Handle), ctypes.c_int),
    "cuCtxSetCurrent": (Handle,),
    "cuStreamCreate": (ctypes.POINTER(Handle), ctypes.c_uint),
    "cuStreamSynchronize": (Handle,),
    "cuStreamDestroy_v2": (Handle,),
    "cuStreamBeginCapture_v2": (Handle, ctypes.c_int),
    "cuStreamEndCapture": (Handle, ctypes.POINTER(Handle)),
    "cuGraphInstantiateWithFlags": (ctypes.POINTER(Handle), Handle, ctypes.c_ulonglong),
    "cuGraphLaunch": (Handle, Handle),
    "cuGraphExecDestroy": (Handle,),
    "cuGraphDestroy": (Handle,),
    "cuEventCreate": (ctypes.POINTER(Handle), ctypes.c_uint),
    "cuEventRecord": (Handle, Handle),
    "cuEventElapsedTime": (ctypes.POINTER(ctypes.c_float), Handle, Handle),
    "cuEventDestroy_v2": (Handle,),
    "cuMemAlloc_v2": (ctypes.POINTER(Address), Size),
    "cuMemFree_v2": (Address,),
    "cuMemAllocHost_v2": (ctypes.POINTER(Handle), Size),
    "cuMemFreeHost": (Handle,),
    "cuMemcpyHtoDAsync_v2": (Address, Handle, Size, Handle),
    "cuMemcpyDtoHAsync_v2": (Handle, Address, Size, Handle),
    "cuMemsetD32Async": (Address, ctypes.c_uint, Size, Handle),
}
"""Functions of NVIDIA's ``cuda.h``; every one returns a status. A driver of CUDA 11.4 or newer has them all."""


@dataclass(frozen=True)
class Gpu:
    """One GPU. The name alone does not identify it: Jetsons of several sizes may have the same, as "Orin"."""

    name: str
    compute_capability: str
    """Major and minor version, such as 8.7."""
    memory_bytes: int
    """All of it; on a Jetson it is the processor's as well."""
    multiprocessors: int

    def __str__(self) -> str:
        return f"{self.name} ({self.compute_capability})"

    @property
    def in_full(self) -> str:
        """Everything that tells it from other GPUs."""
        size = f"{self.memory_bytes / 2**30:.1f} GiB"
        return f"{self.name} ({self.compute_capability}, {self.multiprocessors} multiprocessors, {size})"

    @property
    def kind(self) -> str:
        """Text that all GPUs of one kind share, however much memory the kernel sets aside: up to the next power of
        two."""
        memory = 1 << max(self.memory_bytes - 1, 0).bit_length()
        size = f"{memory >> 30} GiB" if memory >> 30 else f"{memory} bytes"
        return f"{self.name}, {self.compute_capability}, {self.multiprocessors} multiprocessors, at most {size}"

    def is_like(self, other: Gpu) -> bool:
        """Return whether what was tuned on one is right for the other; only their clocks can differ then."""
        same = [(of.name, of.compute_capability, of.multiprocessors) for of in (self, other)]
        near = abs(self.memory_bytes - other.memory_bytes) <= SAME_MEMORY * other.memory_bytes
        return same[0] == same[1] and near


class Driver:
    """The driver's functions with their types, each checked.

    Raises:
        OSError: there is no driver.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(DRIVER)
        except OSError as error:
            raise OSError(f"there is no NVIDIA driver ({DRIVER})") from error

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function.

        Raises:
            RuntimeError: its status is not 0.
        """
        function = getattr(self._library, name)
        if function.argtypes is None:  # before its first call
            function.argtypes, function.restype = SIGNATURES[name], ctypes.c_int
        status = function(*arguments)
        if status != 0:
            raise RuntimeError(f"the NVIDIA driver refuses ({name}: error {status})")


def gpus() -> tuple[Gpu, ...]:
    """Return all GPUs, in the driver's order.

    Raises:
        OSError: there is no driver.
        RuntimeError: it refuses.
    """
    driver, count = Driver(), ctypes.c_int(0)
    driver.call("cuInit", 0)
    driver.call("cuDeviceGetCount", ctypes.byref(count))
    return tuple(_gpu(driver, index) for index in range(count.value))


def default_gpu() -> tuple[Gpu | None, str]:
    """Return the GPU that programs get by default; without one, None and the reason."""
    try:
        found = gpus()
    except (OSError, RuntimeError) as error:
        return None, str(error)
    return (found[0], "") if found else (None, NO_GPU)


def first_gpu() -> Gpu:
    """Return the GPU that engines run on.

    Raises:
        NotPossible: there is none.
    """
    gpu, trouble = default_gpu()
    if gpu is None:
        do = "choose onnxruntime or openvino, or a machine with an NVIDIA GPU"
        raise NotPossible("engines run on an NVIDIA GPU only", trouble, do)
    return gpu


def _gpu(driver: Driver, index: int) -> Gpu:
    device, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), Size(0)
    driver.call("cuDeviceGet", ctypes.byref(device), index)
    driver.call("cuDeviceGetName", name, 256, device)
    driver.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    numbers = []
    for attribute in (MAJOR, MINOR, MULTIPROCESSORS):
        number = ctypes.c_int(0)
        driver.call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        numbers.append(number.value)
    major, minor, multiprocessors = numbers
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", memory.value, multiprocessors)
