"""What this device is: read, never guessed; what cannot be read is None."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from pose_runtime.runtime.errors import NotPossible
from pose_runtime.runtime.gpu import first_gpu
from pose_runtime.runtime.session import usable_cores

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "opencv-python-headless")
DEVICE_TREE, TEGRA = Path("/proc/device-tree/model"), Path("/etc/nv_tegra_release")


def describe_device() -> dict[str, Any]:
    """Processor, memory, GPU and, on a Jetson, the board and its release."""
    try:
        gpu: dict[str, Any] | None = asdict(first_gpu())
        no_gpu = None
    except NotPossible as reason:
        gpu, no_gpu = None, reason.detail
    release = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(TEGRA) or "")
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": _memory_bytes(),
        "board": _text(DEVICE_TREE),
        "l4t": f"{release.group(1)}.{release.group(2)}" if release else None,
        "gpu": gpu,
        "no_gpu": no_gpu,
    }


def jetson() -> str | None:
    """The board's name, if this is one of NVIDIA's embedded ones."""
    board = _text(DEVICE_TREE)
    return board if board and (re.search("NVIDIA|Jetson", board) or _text(TEGRA)) else None


def describe_software() -> dict[str, str]:
    """Versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str | None:
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _text(Path("/proc/cpuinfo")) or "", re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None
