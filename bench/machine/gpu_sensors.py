"""What NVML says of NVIDIA GPUs: who they are, and whether they are being held back. Empty where there is none.

What a GPU does not support (a power limit on some laptops, counters in a virtual machine) is None, never an error.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from export.common.gpu import first_bus_id

THROTTLED = 0x20 | 0x8 | 0x40 | 0x80
"""Software thermal, hardware slow-down, hardware thermal, power brake (nvmlClocksEventReasons)."""
POWER_CAPPED = 0x4
"""Software power cap. 0x1, idle, and 0x2, clocks set by the user, hold nothing back."""


def gpus() -> list[dict[str, Any]]:
    """One record a GPU: what does not change while measuring."""
    return [_identity(nvml(), handle) for handle in _handles()]


def gpu_reading() -> list[dict[str, Any]]:
    """Of the GPU that is measured on: clocks, temperature, and whether its clocks are or were held back.

    It is read while the GPU rests, when a power cap is over already. So beside the reasons of the moment there are the
    driver's counters of the time for which clocks were held back; they rise if that happened since the last reading.
    """
    handle = measured_handle()
    return [] if handle is None else [_reading(nvml(), handle)]


def sm_clock_mhz() -> float | None:
    """Of the GPU that is measured on; None where it is not told."""
    library, handle = nvml(), measured_handle()
    return None if handle is None else _known(lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM))


def other_processes() -> int:
    """How many processes compute on the GPU that is measured on; before any of ours does."""
    library, handle = nvml(), measured_handle()
    return 0 if handle is None else len(_known(lambda: library.nvmlDeviceGetComputeRunningProcesses(handle)) or ())


def held_back(reasons: int) -> dict[str, bool]:
    """NVML's bit mask in the words of the verdict."""
    return {"throttled": bool(reasons & THROTTLED), "power_capped": bool(reasons & POWER_CAPPED)}


@cache
def nvml() -> Any:
    """The library, initialised for as long as this process lives; None where package, driver or GPU is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, no permission: there is nothing to read
        return None
    return pynvml


def measured_handle() -> Any:
    """NVML's handle of the GPU that programs get by default; None where there is none."""
    library = nvml()
    if library is None:
        return None
    try:
        return library.nvmlDeviceGetHandleByPciBusId(first_bus_id())
    except (OSError, RuntimeError, library.NVMLError):  # a Jetson's is on no bus
        handles = _handles()
        return handles[0] if handles else None


def _identity(library: Any, handle: Any) -> dict[str, Any]:
    def asked(name: str) -> Any:
        return _known(lambda: getattr(library, name)(handle))

    uuid, limit, memory = (asked(f"nvmlDeviceGet{what}") for what in ("UUID", "PowerManagementLimit", "MemoryInfo"))
    capability, mode = asked("nvmlDeviceGetCudaComputeCapability"), asked("nvmlDeviceGetMigMode")
    return {
        "name": asked("nvmlDeviceGetName"),
        "uuid_sha256": hashlib.sha256(uuid.encode()).hexdigest()[:16] if uuid else None,
        "driver": _known(library.nvmlSystemGetDriverVersion),
        "compute_capability": list(capability) if capability else None,
        "memory_mib": memory.total >> 20 if memory else None,
        "power_limit_w": limit / 1000 if limit is not None else None,
        "persistence": asked("nvmlDeviceGetPersistenceMode"),
        "mig": mode[0] if mode else None,
        "other_processes": len(asked("nvmlDeviceGetComputeRunningProcesses") or ()),
    }


def _reading(library: Any, handle: Any) -> dict[str, Any]:
    reasons = _known(lambda: library.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    return {
        "sm_clock_mhz": _known(lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM)),
        "temperature_c": _known(lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU)),
        "clocks_event_reasons": reasons,
        **held_back(reasons or 0),
        "throttled_counter": _violation(library, handle, library.NVML_PERF_POLICY_THERMAL),
        "power_capped_counter": _violation(library, handle, library.NVML_PERF_POLICY_POWER),
    }


def _violation(library: Any, handle: Any, policy: int) -> int | None:
    """For how long clocks have been held back for this reason since the driver was loaded, in NVML's unit."""
    seen = _known(lambda: library.nvmlDeviceGetViolationStatus(handle, policy))
    return None if seen is None else int(seen.violationTime)


def _handles() -> list[Any]:
    library = nvml()
    if library is None:
        return []
    return [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]


def _known(ask: Callable[[], Any]) -> Any:
    """The answer, or None where this GPU has none."""
    try:
        return ask()
    except nvml().NVMLError:
        return None
