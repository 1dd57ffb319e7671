"""What a figure was taken on: machine, software, settings; and what moved meanwhile.

Sensors are read by the coordinator between blocks, while every worker is stopped. What cannot be read is None.
"""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine.gpu_sensors import gpu_reading, gpus
from bench.machine.system import cpu_name, usable_cores
from export.common.files import PROJECT
from export.pipeline.steps import version

LIBRARIES = (
    *("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx"),
    *("numpy", "scipy", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
)
VARIABLES = ("OMP_", "MKL_", "KMP_", "OPENBLAS_", "ORT_", "OV_", "TORCH", "CUDA_", "NVIDIA_", "LD_PRELOAD", "MALLOC_")
CPU = Path("/sys/devices/system/cpu")


def environment_record() -> dict[str, Any]:
    """Host, GPUs and software, as far as this process may see them."""
    return {
        "host": {
            "cpu": cpu_name(),
            "usable_cores": usable_cores(),
            "logical_cores": os.cpu_count(),
            "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "smt": _text(CPU / "smt/active"),
            "governor": _text(CPU / "cpu0/cpufreq/scaling_governor"),
            "turbo_disabled": _text(CPU / "intel_pstate/no_turbo"),
            "boost": _text(CPU / "cpufreq/boost"),
            "memory_mib": _memory_mib(),
            "system": platform.system(),
            "machine": platform.machine(),
            "kernel": platform.release(),
            "virtual": "hypervisor" in (_text(Path("/proc/cpuinfo")) or "").split(),
            "uptime_s": _first_number(Path("/proc/uptime")),
        },
        "gpus": gpus(),
        "software": {
            "python": platform.python_version(),
            "libraries": {name: found for name in LIBRARIES if (found := version(name)) != "absent"},
            "git": _git(),
            "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
        },
    }


def fingerprint(record: Mapping[str, Any]) -> str:
    """``sha256:`` of what must be equal for two results to be comparable: hardware, driver, library versions."""
    text = json.dumps(identity(record), sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the fingerprint is taken of."""
    host = record["host"]
    return {
        **{name: host[name] for name in ("cpu", "usable_cores", "machine", "governor")},
        "gpus": [{name: gpu[name] for name in ("name", "driver", "power_limit_w")} for gpu in record["gpus"]],
        "python": record["software"]["python"],
        "libraries": record["software"]["libraries"],
    }


def read_sensors() -> dict[str, Any]:
    """One reading; ticks are counters since the machine started."""
    ticks = _ticks()
    return {
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "steal_ticks": ticks[7] if len(ticks) > 7 else None,
        "total_ticks": sum(ticks[:8]) if ticks else None,
        "cpu_pressure_10s": _pressure(),
        "cpu_clock_mhz": _clock_mhz(),
        "gpus": gpu_reading(),
    }


def steal_share(readings: Sequence[Mapping[str, Any]]) -> float | None:
    """The share of processor time between first and last reading that the hypervisor gave to others."""
    if len(readings) < 2 or any(readings[i]["steal_ticks"] is None for i in (0, -1)):
        return None
    total = readings[-1]["total_ticks"] - readings[0]["total_ticks"]
    return float((readings[-1]["steal_ticks"] - readings[0]["steal_ticks"]) / total) if total > 0 else None


def share_with(readings: Sequence[Mapping[str, Any]], name: str) -> float:
    """The share of readings in which the GPU says ``name`` (throttled, power_capped), of then or of since the last."""
    said = [
        any(gpu[name] or _rose(before, index, gpu, f"{name}_counter") for index, gpu in enumerate(reading["gpus"]))
        for before, reading in zip([None, *readings], readings, strict=False)
    ]
    return sum(said) / len(said) if said else 0.0


def _rose(before: Mapping[str, Any] | None, index: int, gpu: Mapping[str, Any], counter: str) -> bool:
    earlier = before["gpus"][index].get(counter) if before is not None and index < len(before["gpus"]) else None
    now = gpu.get(counter)
    return earlier is not None and now is not None and now > earlier


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _first_number(path: Path) -> float | None:
    text = _text(path)
    return float(text.split()[0]) if text else None


def _memory_mib() -> int | None:
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _ticks() -> list[int]:
    """User, nice, system, idle, iowait, irq, softirq, steal: of all cores (proc_stat(5))."""
    line = (_text(Path("/proc/stat")) or "").split("\n")[0].split()
    return [int(value) for value in line[1:9]] if line[:1] == ["cpu"] else []


def _pressure() -> float | None:
    """Percent of the last ten seconds in which some task waited for a processor."""
    for line in (_text(Path("/proc/pressure/cpu")) or "").splitlines():
        if line.startswith("some"):
            return float(line.split("avg10=")[1].split()[0])
    return None


def _clock_mhz() -> float | None:
    clocks = [_first_number(path) for path in CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    known = [clock for clock in clocks if clock is not None]
    return sum(known) / len(known) / 1000 if known else None


def _git() -> dict[str, Any] | None:
    """The commit of this program's own files, if they lie in a repository."""
    try:
        command = ["git", "-C", str(PROJECT), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    commit = next((line.split()[-1] for line in said if line.startswith("# branch.oid")), None)
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in said)}
