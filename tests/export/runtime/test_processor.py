"""Limits of control groups, in the forms that Docker, Podman, Kubernetes and systemd give them."""

import os
from pathlib import Path

import pytest

from export.runtime.processor import cpu_limit, default_threads, memory_limit, usable_cores

GROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"proc/self/cgroup": "0::/a/b", f"{GROUP}/a/cpu.max": "50000 100000", f"{GROUP}/a/b/cpu.max": "max 1"}, 0.5),
        ({"proc/self/cgroup": "0::/../host/only", f"{GROUP}/cpu.max": "200 100"}, 2.0),
        ({"proc/self/cgroup": "0::/", f"{GROUP}/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/f9/job\n0::/",
                "proc/self/mountinfo": (
                    "32 31 0:29 /docker/f9 /groups/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                    "33 31 0:30 /docker/f9 /groups/pids rw - cgroup cgroup rw,pids"
                ),
                "groups/cpu,cpuacct/job/cpu.cfs_quota_us": "50000",
                "groups/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "1:name=systemd:/\n0::/service",
                "proc/self/mountinfo": "41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw",
                f"{GROUP}/unified/service/cpu.max": "70000 100000",
            },
            0.7,
        ),
    ],
)
def test_limits_of_control_groups(tmp_path: Path, files: dict[str, str], limit: float | None) -> None:
    assert cpu_limit(write_files(tmp_path, files)) == limit


def write_files(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_more_threads_than_processor_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert (usable_cores(), default_threads(tmp_path)) == (4, 4)
    for quota, threads in (("50000", 1), ("250000", 2), ("800000", 4)):
        write_files(tmp_path, {"proc/self/cgroup": "0::/", f"{GROUP}/cpu.max": f"{quota} 100000"})
        assert default_threads(tmp_path) == threads


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"proc/self/cgroup": "0::/pod", f"{GROUP}/memory.max": "4096", f"{GROUP}/pod/memory.max": "max"}, 4096),
        ({"proc/self/cgroup": "5:memory:/x", f"{GROUP}/memory/x/memory.limit_in_bytes": "8192"}, 8192),
        ({"proc/self/cgroup": "0::/", f"{GROUP}/memory.max": "max"}, None),
    ],
)
def test_limits_of_memory(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    assert memory_limit(write_files(tmp_path, files)) == limit
