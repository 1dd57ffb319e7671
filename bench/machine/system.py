"""Which machine a figure was taken on, and what it has: read from the system, without any library of ours."""

import platform
import shutil
from pathlib import Path

from export.runtime.session import usable_cores as usable_cores

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CLOCK = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""What a container may use, as cgroups of version 2 and 1 say it."""

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
"""The kernel's names (x86 flags, ARM features) of what matters to convolutions → ours."""

INT8_FEATURES = ("AVX-512 VNNI", "AVX VNNI", "AMX INT8", "NEON dot product", "I8MM")
"""With one of these, INT8 products have an instruction of their own; without, INT8 is seldom faster than FP32."""


BF16_FEATURES = ("AVX-512 BF16", "AMX BF16", "BF16")
"""With one of these, BF16 products have an instruction of their own."""


def cpu_name() -> str:
    """The processor's model name."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def cpu_features() -> tuple[str, ...]:
    """What of ``FEATURES`` the processor has.

    Raises:
        OSError: the system has no ``/proc/cpuinfo``.
        ValueError: it names no features.
    """
    for line in CPUINFO.read_text(encoding="utf-8").splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            there = set(values.split())
            return tuple(shown for flag, shown in FEATURES.items() if flag in there)
    raise ValueError(f"{CPUINFO} names no features")


def cpu_has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16."""
    try:
        return any(feature in BF16_FEATURES for feature in cpu_features())
    except (OSError, ValueError):
        return False


def clock_mhz() -> float | None:
    """Return the first core's clock, where the kernel tells it."""
    try:
        return int(CLOCK.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None


def memory_mib() -> dict[str, float]:
    """Return this process's resident memory, now and at its peak; NaN where the kernel does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {"now": float("nan"), "peak": float("nan")}
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return {"now": kib["VmRSS"] / 1024, "peak": kib["VmHWM"] / 1024}


def memory_bytes() -> tuple[int, int]:
    """All memory that this process may use, and what of it is free.

    Raises:
        OSError, ValueError, KeyError: the system does not say.
    """
    lines = (line.split() for line in MEMINFO.read_text(encoding="utf-8").splitlines())
    sizes = {words[0]: int(words[1]) * 1024 for words in lines if len(words) > 1}
    total, free = sizes["MemTotal:"], sizes["MemAvailable:"]
    for path in MEMORY_LIMITS:
        if path.is_file() and (limit := path.read_text(encoding="utf-8").strip()).isdigit():
            total = min(total, int(limit))
    return total, min(free, total)


def free_disk_bytes(folder: Path) -> int:
    """Room for what is written to ``folder``, which need not be there yet.

    Raises:
        OSError: the disk does not answer.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def machine() -> dict[str, str | int]:
    """What identifies the machine in a result."""
    return {"cpu": cpu_name(), "cores": usable_cores(), "system": f"{platform.system()} {platform.machine()}"}
