"""The environment of a figure: machine, software and settings, and sensors while measuring.

The coordinator reads the sensors between blocks, while every worker is stopped. What cannot be read is None.
"""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from bench.machine.gpu_sensors import gpu_reading, gpus
from bench.machine.system import clock_mhz, cpu_pressure, host_record, processor_ticks
from export.common.files import PROJECT
from export.pipeline.steps import version

LIBRARIES = (
    *("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx"),
    *("numpy", "scipy", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
)
VARIABLES = ("OMP_", "MKL_", "KMP_", "OPENBLAS_", "ORT_", "OV_", "TORCH", "CUDA_", "NVIDIA_", "LD_PRELOAD", "MALLOC_")


def environment_record() -> dict[str, Any]:
    """Return host, GPUs and software, as far as this process may read them."""
    versions = {name: version(name) for name in LIBRARIES}
    return {
        "host": host_record(),
        "gpus": gpus(),
        "software": {
            "python": platform.python_version(),
            "libraries": {name: number for name, number in versions.items() if number != "absent"},
            "git": _git(),
            "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
        },
    }


def fingerprint(record: Mapping[str, Any]) -> str:
    """Return ``sha256:`` of the facts that make two results comparable: hardware, driver, library versions.

    A machine without a limit of processor time keeps the fingerprint that it had before limits were recorded.
    """
    facts = identity(record)
    if facts["cpu_limit"] is None:
        del facts["cpu_limit"]
    text = json.dumps(facts, sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of the fingerprint."""
    host = record["host"]
    return {
        **{name: host[name] for name in ("cpu", "usable_cores", "machine", "governor")},
        "cpu_limit": host.get("cpu_limit"),
        "gpus": [{name: gpu[name] for name in ("name", "driver", "power_limit_w")} for gpu in record["gpus"]],
        "python": record["software"]["python"],
        "libraries": record["software"]["libraries"],
    }


def read_sensors() -> dict[str, Any]:
    """Return one reading; ticks are counters since the machine started."""
    ticks = processor_ticks()
    return {
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "steal_ticks": ticks[7] if len(ticks) > 7 else None,
        "total_ticks": sum(ticks) if ticks else None,
        "cpu_pressure_10s": cpu_pressure(),
        "cpu_clock_mhz": clock_mhz("cpu[0-9]*"),
        "gpus": gpu_reading(),
    }


def steal_share(readings: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the share of processor time, from the first to the last reading, that the hypervisor gave to others."""
    if len(readings) < 2 or any(readings[i]["steal_ticks"] is None for i in (0, -1)):
        return None
    total = readings[-1]["total_ticks"] - readings[0]["total_ticks"]
    return float((readings[-1]["steal_ticks"] - readings[0]["steal_ticks"]) / total) if total > 0 else None


def share_with(readings: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the share of readings with a GPU limit: ``throttled`` or ``power_capped``.

    The limit counts if it holds at the reading, or if its counter has risen since the reading before.
    """
    limited = [
        any(gpu[name] or _rose(before, index, gpu, f"{name}_counter") for index, gpu in enumerate(reading["gpus"]))
        for before, reading in zip([None, *readings], readings, strict=False)
    ]
    return sum(limited) / len(limited) if limited else 0.0


def _rose(before: Mapping[str, Any] | None, index: int, gpu: Mapping[str, Any], counter: str) -> bool:
    earlier = before["gpus"][index].get(counter) if before is not None and index < len(before["gpus"]) else None
    now = gpu.get(counter)
    return earlier is not None and now is not None and now > earlier


def _git() -> dict[str, Any] | None:
    """Return the commit of this program's own files, if they are in a repository."""
    command = ["git", "-C", str(PROJECT), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}
