"""The NVIDIA GPUs of this machine, asked of the driver itself: no CUDA library, no torch."""

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

from export.runtime.gpu import NO_GPU, Driver, Gpu, default_gpu, gpus

__all__ = ["NO_GPU", "Gpu", "Jetson", "default_gpu", "device_name", "driver_version", "first_bus_id", "gpus", "jetson"]

MANAGEMENT = "libnvidia-ml.so.1"
DEVICE_TREE = Path("/proc/device-tree/model")
TEGRA_RELEASE = Path("/etc/nv_tegra_release")


@dataclass(frozen=True)
class Jetson:
    """The board, and the release of its Linux for Tegra, from which JetPack and TensorRT follow."""

    model: str
    l4t: str | None


def first_bus_id() -> str:
    """Where on the PCI bus the GPU lies that programs get by default: the driver's order is not always NVML's.

    Raises:
        OSError, RuntimeError: there is no driver, or it refuses.
    """
    driver, device, text = Driver(), ctypes.c_int(0), ctypes.create_string_buffer(32)
    driver.call("cuInit", 0)
    driver.call("cuDeviceGet", ctypes.byref(device), 0)
    driver.call("cuDeviceGetPCIBusId", text, 32, device)
    return text.value.decode(errors="replace")


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
