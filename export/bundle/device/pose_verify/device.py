"""Description of this device: processor, memory, GPU, board, packages; None where a value cannot be read."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pose_runtime.runtime.errors import NotPossible
from pose_runtime.runtime.gpu import DEVICE_TREE, first_gpu, jetson
from pose_runtime.runtime.processor import memory_limit, read_text, usable_cores
from pose_runtime.runtime.registry import installed_version

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "opencv-python-headless")
CPUINFO = Path("/proc/cpuinfo")


def describe_device() -> dict[str, Any]:
    """Return processor, memory, GPU and, on a Jetson, the board and its release."""
    gpu, no_gpu, board = None, None, None
    with suppress(OSError):
        board = jetson()
    try:
        gpu = asdict(first_gpu())
    except NotPossible as reason:
        no_gpu = reason.detail
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", read_text(CPUINFO) or "", re.MULTILINE)
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processor": model.group(1).strip() if model else platform.processor() or None,
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": _memory_bytes(),
        "board": read_text(DEVICE_TREE),
        "l4t": board.l4t if board else None,
        "gpu": gpu,
        "no_gpu": no_gpu,
    }


def describe_software() -> dict[str, str]:
    """Return the versions of Python and of the installed packages."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        number = installed_version(name)
        if number is not None:
            versions[name] = number
    return versions


def _memory_bytes() -> int | None:
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return min(installed, memory_limit() or installed)
    except (ValueError, OSError, AttributeError):
        return None
