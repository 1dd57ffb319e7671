"""The NVIDIA GPUs of this machine, queried through the driver: without a CUDA library or torch."""

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
    """A Jetson board, and its release of Linux for Tegra, which determines JetPack and TensorRT."""

    model: str
    l4t: str | None


def first_bus_id() -> str:
    """Return the PCI bus id of the default GPU, since NVML may number GPUs in another order.

    Raises:
        OSError, RuntimeError: there is no driver, or a call fails.
    """
    driver, device, text = Driver(), ctypes.c_int(0), ctypes.create_string_buffer(32)
    driver.call("cuInit", 0)
    driver.call("cuDeviceGet", ctypes.byref(device), 0)
    driver.call("cuDeviceGetPCIBusId", text, 32, device)
    return text.value.decode(errors="replace")


def device_name() -> str | None:
    """Return the default GPU, such as ``NVIDIA GeForce RTX 4090 (8.9)``; None if there is none."""
    gpu, _ = default_gpu()
    return str(gpu) if gpu is not None else None


def driver_version() -> str:
    """Return the driver's release, such as 580.65.06.

    Raises:
        OSError, RuntimeError: NVIDIA's management library is missing, or a call fails.
    """
    library, text = ctypes.CDLL(MANAGEMENT), ctypes.create_string_buffer(96)
    status = library.nvmlInit_v2() or library.nvmlSystemGetDriverVersion(text, 96)
    library.nvmlShutdown()
    if status:
        raise RuntimeError(f"NVML does not tell the driver's version (error {status})")
    return text.value.decode(errors="replace")


def jetson() -> Jetson | None:
    """Return the Jetson board; None on other machines.

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
