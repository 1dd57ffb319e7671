"""What NVML says of NVIDIA GPUs: who they are, and whether they are being held back. Empty where there is none."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

THROTTLED = 0x20 | 0x8 | 0x40 | 0x80
"""Software thermal, hardware slow-down, hardware thermal, power brake (nvmlClocksEventReasons)."""
POWER_CAPPED = 0x4


def gpus() -> list[dict[str, Any]]:
    """One record a GPU: what does not change while measuring."""
    with _nvml() as nvml:
        return [_identity(nvml, handle) for handle in _handles(nvml)]


def gpu_reading() -> list[dict[str, Any]]:
    """One record a GPU: clocks, temperature, and why clocks are held back."""
    with _nvml() as nvml:
        return [_reading(nvml, handle) for handle in _handles(nvml)]


def held_back(reasons: int) -> dict[str, bool]:
    """NVML's bit mask in the words of the verdict."""
    return {"throttled": bool(reasons & THROTTLED), "power_capped": bool(reasons & POWER_CAPPED)}


def _identity(nvml: Any, handle: Any) -> dict[str, Any]:
    return {
        "name": nvml.nvmlDeviceGetName(handle),
        "uuid_sha256": hashlib.sha256(nvml.nvmlDeviceGetUUID(handle).encode()).hexdigest()[:16],
        "driver": nvml.nvmlSystemGetDriverVersion(),
        "compute_capability": list(nvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "memory_mib": nvml.nvmlDeviceGetMemoryInfo(handle).total >> 20,
        "power_limit_w": nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000,
        "other_processes": len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
    }


def _reading(nvml: Any, handle: Any) -> dict[str, Any]:
    return {
        "sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "temperature_c": nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        **held_back(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
    }


def _handles(nvml: Any) -> list[Any]:
    if nvml is None:
        return []
    return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]


@contextmanager
def _nvml() -> Iterator[Any]:
    """The library, initialised; None where package, driver or GPU is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, no permission: there is nothing to read
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()
