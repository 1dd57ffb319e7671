"""Calls of NVIDIA's driver, without the CUDA toolkit or another package.

TensorRT cannot be asked for a GPU: it crashes without a driver.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import NotPossible

DRIVER = "libcuda.so.1"
DEVICE_TREE, TEGRA_RELEASE = Path("/proc/device-tree/model"), Path("/etc/nv_tegra_release")
NO_GPU = "the NVIDIA driver sees no GPU"
MAJOR, MINOR, MULTIPROCESSORS = 75, 76, 16
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR``, ``_MINOR`` and ``CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT``."""
SAME_MEMORY = 0.1
"""Relative difference of memory between two modules of one size: a Jetson's kernel reserves some of it, depending on
settings. Modules of one generation have 4, 8, 16, 32 or 64 GB."""

Handle, Address, Size = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t

SIGNATURES = {
    "cuInit": (ctypes.c_uint,),
    "cuDriverGetVersion": (ctypes.POINTER(ctypes.c_int),),
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
"""Functions of NVIDIA's ``cuda.h`` and their types; each returns a status. Drivers since CUDA 11.4 have them all."""


@dataclass(frozen=True)
class Gpu:
    """One GPU. The name alone does not identify it: Jetsons of several sizes may share one, such as "Orin"."""

    name: str
    compute_capability: str
    """Major and minor version, such as 8.7."""
    memory_bytes: int
    """All of it; a Jetson shares it with the processor."""
    multiprocessors: int

    def __str__(self) -> str:
        return f"{self.name} ({self.compute_capability})"

    @property
    def in_full(self) -> str:
        """Name, compute capability, multiprocessors and memory."""
        size = f"{self.memory_bytes / 2**30:.1f} GiB"
        return f"{self.name} ({self.compute_capability}, {self.multiprocessors} multiprocessors, {size})"

    @property
    def kind(self) -> str:
        """Text that all GPUs of one kind share: memory is rounded up to a power of two, as the kernel reserves some."""
        memory = 1 << max(self.memory_bytes - 1, 0).bit_length()
        size = f"{memory >> 30} GiB" if memory >> 30 else f"{memory} bytes"
        return f"{self.name}, {self.compute_capability}, {self.multiprocessors} multiprocessors, at most {size}"

    def is_like(self, other: Gpu) -> bool:
        """Return whether an engine tuned on one suits the other; at most their clocks differ then."""
        first, second = ((gpu.name, gpu.compute_capability, gpu.multiprocessors) for gpu in (self, other))
        return first == second and abs(self.memory_bytes - other.memory_bytes) <= SAME_MEMORY * other.memory_bytes


class Driver:
    """The driver's functions.

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
        if function.argtypes is None:  # the first call
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
    """Return the default GPU; without one, None and the reason."""
    try:
        devices = gpus()
    except (OSError, RuntimeError) as error:
        return None, str(error)
    return (devices[0], "") if devices else (None, NO_GPU)


def first_gpu() -> Gpu:
    """Return the GPU that engines run on.

    Raises:
        NotPossible: there is none.
    """
    gpu, trouble = default_gpu()
    if gpu is None:
        advice = "choose onnxruntime or openvino, or a machine with an NVIDIA GPU"
        raise NotPossible("engines run on an NVIDIA GPU only", trouble, advice)
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


@dataclass(frozen=True)
class Jetson:
    """A Jetson board, and its release of Linux for Tegra, which determines JetPack and TensorRT."""

    model: str
    l4t: str | None


def jetson() -> Jetson | None:
    """Return the board if this is one of NVIDIA's embedded devices.

    Raises:
        OSError: a file cannot be read.
    """
    if not DEVICE_TREE.is_file():
        return None
    model = DEVICE_TREE.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    release = TEGRA_RELEASE.read_text(encoding="utf-8", errors="replace") if TEGRA_RELEASE.is_file() else ""
    if not (release or re.search("NVIDIA|Jetson", model)):
        return None
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return Jetson(model, f"{match[1]}.{match[2]}" if match else None)
