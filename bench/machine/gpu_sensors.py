"""NVIDIA GPUs by NVML: their identity, and limits on their clocks. Empty where there is none.

What a GPU does not support (a power limit on some laptops, counters in a virtual machine) is None, never an error.
"""

import hashlib
from functools import cache
from typing import Any

from bench.machine.driver import first_bus_id

THROTTLED = 0x20 | 0x8 | 0x40 | 0x80
"""Software thermal, hardware slow-down, hardware thermal, power brake (nvmlClocksEventReasons)."""
POWER_CAPPED = 0x4
"""Software power cap. 0x1 (idle) and 0x2 (clocks set by the user) limit nothing."""


def gpus() -> list[dict[str, Any]]:
    """Return one record per GPU with the facts that do not change while measuring."""
    return [_identity(handle) for handle in _handles()]


def gpu_reading() -> list[dict[str, Any]]:
    """Return clock, temperature and limits of the measured GPU.

    The GPU rests during a reading, and a power cap is over by then. So each limit also has the driver's counter of the
    time under it, which rises if the limit held since the reading before.
    """
    handle = measured_handle()
    if handle is None:
        return []
    library = nvml()
    reasons = _ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    thermal = _ask("nvmlDeviceGetViolationStatus", handle, library.NVML_PERF_POLICY_THERMAL)
    power = _ask("nvmlDeviceGetViolationStatus", handle, library.NVML_PERF_POLICY_POWER)
    return [
        {
            "sm_clock_mhz": sm_clock_mhz(),
            "temperature_c": _ask("nvmlDeviceGetTemperature", handle, library.NVML_TEMPERATURE_GPU),
            "clocks_event_reasons": reasons,
            **held_back(reasons or 0),
            "throttled_counter": thermal.violationTime if thermal else None,
            "power_capped_counter": power.violationTime if power else None,
        }
    ]


def sm_clock_mhz() -> float | None:
    """Return the clock of the measured GPU; None where it is not reported."""
    handle = measured_handle()
    return None if handle is None else _ask("nvmlDeviceGetClockInfo", handle, nvml().NVML_CLOCK_SM)


def other_processes() -> int:
    """Return the number of processes that compute on the measured GPU; called before any of ours does."""
    handle = measured_handle()
    return 0 if handle is None else len(_ask("nvmlDeviceGetComputeRunningProcesses", handle) or ())


def held_back(reasons: int) -> dict[str, bool]:
    """Return the limits in NVML's bit mask."""
    return {"throttled": bool(reasons & THROTTLED), "power_capped": bool(reasons & POWER_CAPPED)}


@cache
def nvml() -> Any:
    """Return the library, initialised until this process ends; None where package, driver or GPU is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, no permission: there is nothing to read
        return None
    return pynvml


def measured_handle() -> Any:
    """Return NVML's handle of the GPU that programs get by default; None where there is none."""
    library = nvml()
    if library is None:
        return None
    try:
        return library.nvmlDeviceGetHandleByPciBusId(first_bus_id())
    except (OSError, RuntimeError, library.NVMLError):  # a Jetson's GPU is on no bus
        return next(iter(_handles()), None)


def _identity(handle: Any) -> dict[str, Any]:
    uuid, memory = _ask("nvmlDeviceGetUUID", handle), _ask("nvmlDeviceGetMemoryInfo", handle)
    limit = _ask("nvmlDeviceGetPowerManagementLimit", handle)
    capability, mode = _ask("nvmlDeviceGetCudaComputeCapability", handle), _ask("nvmlDeviceGetMigMode", handle)
    return {
        "name": _ask("nvmlDeviceGetName", handle),
        "uuid_sha256": hashlib.sha256(uuid.encode()).hexdigest()[:16] if uuid else None,
        "driver": _ask("nvmlSystemGetDriverVersion"),
        "compute_capability": list(capability) if capability else None,
        "memory_mib": memory.total >> 20 if memory else None,
        "power_limit_w": limit / 1000 if limit is not None else None,
        "persistence": _ask("nvmlDeviceGetPersistenceMode", handle),
        "mig": mode[0] if mode else None,
        "other_processes": len(_ask("nvmlDeviceGetComputeRunningProcesses", handle) or ()),
    }


def _handles() -> list[Any]:
    library = nvml()
    if library is None:
        return []
    return [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]


def _ask(function: str, *arguments: Any) -> Any:
    """Return NVML's answer, or None where this GPU has none."""
    library = nvml()
    try:
        return getattr(library, function)(*arguments)
    except library.NVMLError:
        return None
