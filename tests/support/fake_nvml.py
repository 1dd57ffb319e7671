"""Fake NVML. ``test_gpu_sensors.py`` compares its names and arguments with the real ones."""

from types import SimpleNamespace
from typing import Any

import pynvml


class FakeNvml:
    """One GPU, without support for the functions in ``lacks``."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_PERF_POLICY_POWER = pynvml.NVML_PERF_POLICY_POWER
    NVML_PERF_POLICY_THERMAL = pynvml.NVML_PERF_POLICY_THERMAL

    def __init__(self, *lacks: str) -> None:
        self.lacks = set(lacks)
        self.reasons, self.energy_mj, self.processes = 0, 5_000_000, 0
        self.violations = {self.NVML_PERF_POLICY_POWER: 0, self.NVML_PERF_POLICY_THERMAL: 0}

    def _supported(self, name: str) -> None:
        if name in self.lacks:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"gpu {index}"

    def nvmlDeviceGetHandleByPciBusId(self, pciBusId: str) -> str:
        self._supported("nvmlDeviceGetHandleByPciBusId")
        return f"gpu at {pciBusId}"

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "Fake"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return "GPU-0"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.65.06"

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:
        return 8, 9

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(total=24 << 30)

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:
        self._supported("nvmlDeviceGetPowerManagementLimit")
        return 450_000

    def nvmlDeviceGetPersistenceMode(self, handle: str) -> int:
        return 1

    def nvmlDeviceGetMigMode(self, device: str) -> list[int]:
        self._supported("nvmlDeviceGetMigMode")
        return [0, 0]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        return [SimpleNamespace(pid=1)] * self.processes

    def nvmlDeviceGetClockInfo(self, handle: str, type: int) -> int:
        return 2520

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 61

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        self._supported("nvmlDeviceGetCurrentClocksThrottleReasons")
        return self.reasons

    def nvmlDeviceGetViolationStatus(self, device: str, perfPolicyType: int) -> Any:
        self._supported("nvmlDeviceGetViolationStatus")
        return SimpleNamespace(violationTime=self.violations[perfPolicyType])

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        self._supported("nvmlDeviceGetTotalEnergyConsumption")
        return self.energy_mj
