"""The NVIDIA GPUs of this machine, asked of the driver itself: no CUDA library, no torch."""

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

DRIVER = "libcuda.so.1"
MANAGEMENT = "libnvidia-ml.so.1"
DEVICE_TREE = Path("/proc/device-tree/model")
TEGRA_RELEASE = Path("/etc/nv_tegra_release")
NO_GPU = "the NVIDIA driver sees no GPU"
MAJOR, MINOR, MULTIPROCESSORS = 75, 76, 16
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR``, ``_MINOR`` and ``CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT``."""
SAME_MEMORY = 0.1
"""What a module's memory may seem to differ by: a Jetson's kernel sets some of it aside, how much depends on settings.
Modules of one generation are made with 4, 8, 16, 32 or 64 GB. A bundle's runtime allows as much."""


@dataclass(frozen=True)
class Gpu:
    """One GPU. The name alone does not tell it: Jetsons of several sizes may have the same, as "Orin"."""

    name: str
    compute_capability: str
    """As in 8.6."""
    memory_bytes: int
    multiprocessors: int

    def __str__(self) -> str:
        return f"{self.name} ({self.compute_capability})"

    @property
    def in_full(self) -> str:
        """All that tells it from others."""
        parts = (
            f"{self.compute_capability}, {self.multiprocessors} multiprocessors, {self.memory_bytes / 2**30:.1f} GiB"
        )
        return f"{self.name} ({parts})"

    @property
    def kind(self) -> str:
        """The same for every GPU of one kind, however much of its memory the kernel sets aside: up to the next power of
        two."""
        memory = 1 << max(self.memory_bytes - 1, 0).bit_length()
        size = f"{memory >> 30} GiB" if memory >> 30 else f"{memory} bytes"
        return f"{self.name}, {self.compute_capability}, {self.multiprocessors} multiprocessors, at most {size}"

    def is_like(self, other: "Gpu") -> bool:
        """Whether what was tuned on the one is right for the other; only their clocks can differ then."""
        same = [(of.name, of.compute_capability, of.multiprocessors) for of in (self, other)]
        near = abs(self.memory_bytes - other.memory_bytes) <= SAME_MEMORY * other.memory_bytes
        return same[0] == same[1] and near


@dataclass(frozen=True)
class Jetson:
    """The board, and the release of its Linux for Tegra, from which JetPack and TensorRT follow."""

    model: str
    l4t: str | None


def gpus() -> tuple[Gpu, ...]:
    """All of them, in the driver's order.

    Raises:
        OSError: there is no driver.
        RuntimeError: it refuses.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise OSError(f"there is no NVIDIA driver ({DRIVER})") from error
    _call(driver.cuInit(0), "cuInit")
    count = ctypes.c_int(0)
    _call(driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    return tuple(_gpu(driver, index) for index in range(count.value))


def default_gpu() -> tuple[Gpu | None, str]:
    """The GPU that programs get by default; without one, why there is none. No NVIDIA library but the driver is asked:
    TensorRT's runtime crashes where no driver answers.
    """
    try:
        found = gpus()
    except (OSError, RuntimeError) as error:
        return None, str(error)
    return (found[0], "") if found else (None, NO_GPU)


def first_bus_id() -> str:
    """Where on the PCI bus the GPU lies that programs get by default: the driver's order is not always NVML's.

    Raises:
        OSError, RuntimeError: there is no driver, or it refuses.
    """
    driver, device, text = ctypes.CDLL(DRIVER), ctypes.c_int(0), ctypes.create_string_buffer(32)
    _call(driver.cuInit(0), "cuInit")
    _call(driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _call(driver.cuDeviceGetPCIBusId(text, 32, device), "cuDeviceGetPCIBusId")
    return text.value.decode(errors="replace")


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    device, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    _call(driver.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _call(driver.cuDeviceGetName(name, 256, device), "cuDeviceGetName")
    _call(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    numbers = []
    for attribute in (MAJOR, MINOR, MULTIPROCESSORS):
        number = ctypes.c_int(0)
        _call(driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device), "cuDeviceGetAttribute")
        numbers.append(number.value)
    major, minor, multiprocessors = numbers
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", memory.value, multiprocessors)


def _call(status: int, function: str) -> None:
    if status != 0:
        raise RuntimeError(f"the NVIDIA driver refuses ({function}: error {status})")


def device_name() -> str | None:
    """``NVIDIA GeForce RTX 4090 (8.9)``: the GPU that programs get by default; None where there is none."""
    gpu, _ = default_gpu()
    return str(gpu) if gpu is not None else None


def driver_version() -> str:
    """The driver's release, as in 580.65.06.

    Raises:
        OSError, RuntimeError: NVIDIA's management library is not there, or refuses.
    """
    library, text = ctypes.CDLL(MANAGEMENT), ctypes.create_string_buffer(96)
    _call(library.nvmlInit_v2(), "nvmlInit")
    try:
        _call(library.nvmlSystemGetDriverVersion(text, 96), "nvmlSystemGetDriverVersion")
    finally:
        library.nvmlShutdown()
    return text.value.decode(errors="replace")


def jetson() -> Jetson | None:
    """The board, if this is one of NVIDIA's embedded ones.

    Raises:
        OSError: a file is there and cannot be read.
    """
    if not DEVICE_TREE.is_file():
        return None
    model = DEVICE_TREE.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    release = TEGRA_RELEASE.read_text(encoding="utf-8", errors="replace") if TEGRA_RELEASE.is_file() else ""
    if not (release or re.search("NVIDIA|Jetson", model)):
        return None
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return Jetson(model, f"{found[1]}.{found[2]}" if found else None)
