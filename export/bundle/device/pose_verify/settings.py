"""How this device is set: power mode, clocks, and what of the processor may be used. Read without root, never changed.

A latency without these cannot be compared: a power mode decides how many cores a board has, and how fast they may run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pose_verify.power_mode import power_mode

ROOT = Path("/")
CPU_CLOCKS, DEVICE_CLOCKS, CGROUPS = "sys/devices/system/cpu/cpufreq", "sys/class/devfreq", "sys/fs/cgroup"
GPU = re.compile(r"gpu|g[pvab]\d+b")
"""What Linux calls the clock of a Jetson's GPU: ``17000000.gpu``, ``57000000.gpu``, ``17000000.ga10b``."""


def describe_settings() -> dict[str, Any]:
    """All of it; None and empty lists where it cannot be read."""
    mode, no_mode = power_mode()
    return {
        "power_mode": mode,
        "no_power_mode": no_mode,
        "cpu_clocks": cpu_clocks(),
        "gpu_clocks": gpu_clocks(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "cpu_limit": cpu_limit(),
    }


def cpu_clocks(root: Path = ROOT) -> list[dict[str, Any]]:
    """The governor and the bounds of the clock, once for all cores that have them alike.

    ``jetson_clocks`` makes both bounds the same, of the processor's clocks as of the GPU's.
    """
    alike: dict[tuple[str | None, int | None, int | None], list[int]] = {}
    for policy in (root / CPU_CLOCKS).glob("policy*"):
        bounds = (_number(policy / "scaling_min_freq"), _number(policy / "scaling_max_freq"))
        cores = [int(core) for core in (_text(policy / "affected_cpus") or "").split() if core.isdigit()]
        alike.setdefault((_text(policy / "scaling_governor"), *bounds), []).extend(cores)
    found = [
        {"cores": sorted(cores), "governor": governor, "min_khz": low, "max_khz": high}
        for (governor, low, high), cores in alike.items()
        if cores  # a policy of cores that are all switched off
    ]
    return sorted(found, key=lambda clock: clock["cores"])


def gpu_clocks(root: Path = ROOT) -> list[dict[str, Any]]:
    """The bounds of the clocks of a Jetson's GPU; other GPUs have none here."""
    return [
        {"name": clock.name, "min_hz": _number(clock / "min_freq"), "max_hz": _number(clock / "max_freq")}
        for clock in sorted((root / DEVICE_CLOCKS).glob("*"))
        if GPU.search(clock.name) or GPU.search(_text(clock / "device/of_node/name") or "")
    ]


def cpu_limit(root: Path = ROOT) -> float | None:
    """Processors' worth of time that control groups leave to this process, as in a container; None: all.

    Linux, ``Documentation/admin-guide/cgroup-v2.rst`` (``cpu.max``) and ``scheduler/sched-bwc.rst``
    (``cpu.cfs_quota_us``, which is -1 where there is no limit).
    """
    shares = []
    for folder, version in _groups(root):
        if version == 2:
            quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
        else:
            quota, period = _text(folder / "cpu.cfs_quota_us") or "", _text(folder / "cpu.cfs_period_us") or ""
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            shares.append(int(quota) / int(period))
    return min(shares) if shares else None


def _groups(root: Path) -> Iterator[tuple[Path, int]]:
    """The folders of the group that this process is in and of all above, whose limits hold as well; and the version.

    Within a container the group's path may be that of the host, and not be there: then those above are.
    """
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            top, version = root / CGROUPS, 2
        elif "cpu" in controllers.split(","):
            top, version = root / CGROUPS / "cpu", 1
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            yield top.joinpath(*parts[:depth]), version


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None
