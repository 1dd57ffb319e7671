"""Versions of the NVIDIA driver, and its bus id of the default GPU: asked without a CUDA library or torch."""

import ctypes

from export.runtime.gpu import Driver

MANAGEMENT = "libnvidia-ml.so.1"


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


def driver_cuda() -> str:
    """Return the newest CUDA that the driver runs, such as 13.0; NVIDIA's package of forward compatibility counts.

    Raises:
        OSError, RuntimeError: there is no driver, or the call fails.
    """
    number = ctypes.c_int(0)
    Driver().call("cuDriverGetVersion", ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


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
