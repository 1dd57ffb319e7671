"""The processor, its memory and its disk, read from the system without any large library."""

import os
import platform
import shutil
from pathlib import Path

import psutil

from export.runtime.processor import cpu_limit, memory_limit, read_text, usable_cores

CPUINFO = Path("/proc/cpuinfo")
CPU = Path("/sys/devices/system/cpu")

FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16",
    "amx_tile": "AMX",
    "amx_int8": "AMX INT8",
    "amx_bf16": "AMX BF16",
    "amx_fp16": "AMX FP16",
    "asimd": "NEON",
    "asimdhp": "NEON FP16",
    "asimddp": "NEON dot product",
    "i8mm": "I8MM",
    "bf16": "BF16",
    "sve": "SVE",
    "sve2": "SVE2",
}
"""The kernel's names (x86 flags, ARM features) of features that matter to convolutions → usual names."""

INT8_FEATURES = ("AVX-512 VNNI", "AVX VNNI", "AMX INT8", "NEON dot product", "I8MM")
"""Instructions for INT8 products; without one, INT8 is seldom faster than FP32."""

BF16_FEATURES = ("AVX-512 BF16", "AMX BF16", "BF16")
"""Instructions for BF16 products."""


def cpu_name() -> str:
    """Return the processor's model name."""
    text = read_text(CPUINFO)
    if text is None:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())


def cpu_features() -> tuple[str, ...]:
    """Return which of ``FEATURES`` the processor has.

    Raises:
        OSError: the system has no ``/proc/cpuinfo``.
        ValueError: it names no features.
    """
    for line in CPUINFO.read_text(encoding="utf-8").splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags = set(values.split())
            return tuple(feature for flag, feature in FEATURES.items() if flag in flags)
    raise ValueError(f"{CPUINFO} names no features")


def cpu_has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16."""
    try:
        return any(feature in BF16_FEATURES for feature in cpu_features())
    except (OSError, ValueError):
        return False


def clock_mhz(cores: str = "cpu0") -> float | None:
    """Return the mean clock of the cores that match a pattern; None where the kernel does not report it."""
    texts = [read_text(path) for path in CPU.glob(f"{cores}/cpufreq/scaling_cur_freq")]
    clocks = [int(text) for text in texts if text and text.isdigit()]
    return sum(clocks) / len(clocks) / 1000 if clocks else None


def memory_mib() -> dict[str, float]:
    """Return this process's resident memory, now and at its peak; NaN where the kernel does not report it."""
    text = read_text(Path("/proc/self/status"))
    if text is None:
        return {"now": float("nan"), "peak": float("nan")}
    kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.startswith("Vm")}
    return {"now": kib["VmRSS"] / 1024, "peak": kib["VmHWM"] / 1024}


def memory_bytes() -> tuple[int, int]:
    """Return the memory that this process may use: all of it, and the free part.

    Raises:
        OSError: the system does not report it.
    """
    memory = psutil.virtual_memory()
    total = min(memory.total, memory_limit() or memory.total)
    return total, min(memory.available, total)


def free_disk_bytes(folder: Path) -> int:
    """Return the free space for files in ``folder``, which need not exist yet.

    Raises:
        OSError: the disk does not answer.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def processor_ticks() -> list[int]:
    """Return user, nice, system, idle, iowait, irq, softirq and steal ticks of all cores (proc_stat(5)), or nothing."""
    words = (read_text(Path("/proc/stat")) or "").split("\n")[0].split()
    return [int(value) for value in words[1:9]] if words[:1] == ["cpu"] else []


def cpu_pressure() -> float | None:
    """Return the percentage of the last ten seconds in which some task waited for a processor."""
    for line in (read_text(Path("/proc/pressure/cpu")) or "").splitlines():
        if line.startswith("some"):
            return float(line.split("avg10=")[1].split()[0])
    return None


def host_record() -> dict[str, object]:
    """Return the facts of the host for a result; None where the kernel does not report one."""
    try:
        memory = memory_bytes()[0] >> 20
    except OSError:
        memory = None
    uptime = read_text(Path("/proc/uptime"))
    return {
        "cpu": cpu_name(),
        "usable_cores": usable_cores(),
        "cpu_limit": cpu_limit(),
        "logical_cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "smt": read_text(CPU / "smt/active"),
        "governor": read_text(CPU / "cpu0/cpufreq/scaling_governor"),
        "turbo_disabled": read_text(CPU / "intel_pstate/no_turbo"),
        "boost": read_text(CPU / "cpufreq/boost"),
        "memory_mib": memory,
        "system": platform.system(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "virtual": "hypervisor" in (read_text(CPUINFO) or "").split(),
        "uptime_s": float(uptime.split()[0]) if uptime else None,
    }


def machine() -> dict[str, str | int | float]:
    """Return the few facts that identify the machine in a table."""
    facts: dict[str, str | int | float] = {"cpu": cpu_name(), "cores": usable_cores()}
    facts["system"] = f"{platform.system()} {platform.machine()}"
    if (limit := cpu_limit()) is not None:
        facts["cpu_limit"] = limit
    return facts
