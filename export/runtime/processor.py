"""Processors and memory that this process may use: affinity, and the limits of its control groups (a container)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
CGROUPS = "sys/fs/cgroup"


def usable_cores() -> int:
    """Return how many processors this process may use, by its affinity."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def default_threads(root: Path = ROOT) -> int:
    """Return the number of threads that the usable cores and the time limit serve; more would be paused."""
    limit = cpu_limit(root)
    return usable_cores() if limit is None else max(1, min(usable_cores(), int(limit)))


def cpu_limit(root: Path = ROOT) -> float | None:
    """Return how many processors' time control groups (a container) leave to this process; None: no limit.

    Linux, ``Documentation/admin-guide/cgroup-v2.rst`` (``cpu.max``) and ``scheduler/sched-bwc.rst``
    (``cpu.cfs_quota_us``, which is -1 where there is no limit).
    """
    limits = []
    for folder, version in _groups(root, "cpu"):
        if version == 2:
            quota, _, period = (read_text(folder / "cpu.max") or "").partition(" ")
        else:
            quota, period = (read_text(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            limits.append(int(quota) / int(period))
    return min(limits) if limits else None


def limit_note(limit: float | None) -> str:
    """Return a limit of processor time as the end of a sentence about cores; empty if there is none."""
    return "" if limit is None else f", limited to the time of {limit:g}"


def memory_limit(root: Path = ROOT) -> int | None:
    """Return the bytes of memory that control groups leave to this process; None: no limit."""
    names = {1: "memory.limit_in_bytes", 2: "memory.max"}
    texts = [read_text(folder / names[version]) or "" for folder, version in _groups(root, "memory")]
    return min((int(text) for text in texts if text.isdigit()), default=None)


def read_text(path: Path) -> str | None:
    """Return a file's text without surrounding blanks and NUL; None if it is empty or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Yield folder and version of this process's control group and of all above, since their limits hold as well.

    In a container the group's path may be the host's and not exist; those above it do.
    """
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, remainder = line.partition(":")
        controllers, _, path = remainder.partition(":")
        version = 2 if number == "0" and not controllers else 1
        if version == 1 and controller not in controllers.split(","):
            continue
        for inside, top in _mounts(root, controller, version):
            own = path[len(inside) :] if path.startswith(inside.rstrip("/") + "/") else path
            parts = [part for part in own.split("/") if part not in ("", "..")]
            for depth in range(len(parts) + 1):
                yield top.joinpath(*parts[:depth]), version


def _mounts(root: Path, controller: str, version: int) -> list[tuple[str, Path]]:
    """Return the mounts of a hierarchy of groups: which group is mounted, and where (proc_pid_mountinfo(5))."""
    mounts = []
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        fields, _, source = line.partition(" - ")
        kind, *options = source.split()
        is_wanted = kind == "cgroup2" if version == 2 else kind == "cgroup" and controller in options[-1].split(",")
        if is_wanted:
            inside, place = fields.split()[3:5]
            mounts.append((inside, root / place.lstrip("/")))
    usual = root / CGROUPS if version == 2 else root / CGROUPS / controller
    return mounts or [("/", usual)]
