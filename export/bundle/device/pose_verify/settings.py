"""Settings of this device: power mode, clocks, and usable processor time. Read without root, never changed.

Latencies can only be compared under equal settings: a power mode decides how many cores run, and how fast.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pose_runtime.runtime.processor import cpu_limit, read_text

ROOT = Path("/")
CPU_CLOCKS, DEVICE_CLOCKS = "sys/devices/system/cpu/cpufreq", "sys/class/devfreq"
GPU = re.compile(r"gpu|g[pvab]\d+b")
"""Linux's names for the clock of a Jetson's GPU: ``17000000.gpu``, ``57000000.gpu``, ``17000000.ga10b``."""
TOOL, PLACES = "nvpmodel", "/usr/sbin:/usr/bin:/sbin:/bin"
"""The tool, and its folders in JetPack, for a user without the system's programs in PATH."""
LIMIT_S = 10.0
"""Longest wait for the tool, which answers at once unless its service hangs."""
KILL_S = 1.0
"""Longest wait for the end of a killed tool; one that hangs in the kernel does not end."""


def describe_settings() -> dict[str, Any]:
    """Return all settings; None and empty lists where they cannot be read."""
    mode, no_mode = power_mode()
    return {
        "power_mode": mode,
        "no_power_mode": no_mode,
        "cpu_clocks": cpu_clocks(),
        "gpu_clocks": gpu_clocks(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "cpu_limit": cpu_limit(),
    }


def power_mode() -> tuple[dict[str, Any] | None, str | None]:
    """Return a Jetson's mode, as ``{"name": "MAXN", "number": 0}``, and None; or None and why it is not known.

    Without root ``nvpmodel -q`` cannot read some of its files, and may fail after it has printed the mode.
    """
    tool = shutil.which(TOOL) or shutil.which(TOOL, path=PLACES)
    if tool is None:
        return None, f"there is no {TOOL}"
    try:
        output = _output([tool, "-q"])
    except subprocess.TimeoutExpired:
        return None, f"{TOOL} -q did not answer within {LIMIT_S:g} s"
    except OSError as error:
        return None, f"{TOOL} -q does not run: {error.strerror or error}"
    mode = parse_mode(output)
    return mode, None if mode else f"{TOOL} -q prints no mode"


def _output(command: list[str]) -> str:
    """Return the tool's output, through a file: a pipe stays open as long as any child of a hanging program."""
    with tempfile.TemporaryFile() as file:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            child.wait(LIMIT_S)
        except BaseException:  # also Ctrl-C, which does not reach the child's session
            with suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)  # and what it started
            with suppress(subprocess.TimeoutExpired):
                child.wait(KILL_S)
            raise
        file.seek(0)
        return file.read().decode(errors="replace")


def parse_mode(output: str) -> dict[str, Any] | None:
    r"""Parse the output of ``nvpmodel -q``; a missing number is None, and so is all without a name.

    >>> parse_mode("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W_2CORE\n2\n")
    {'name': 'MODE_15W_2CORE', 'number': 2}
    """
    name = re.search(r"NV Power Mode:[ \t]*(\S.*?)[ \t\r]*$", output, re.MULTILINE)
    if name is None:
        return None
    number = re.search(r"^[ \t]*(\d+)[ \t\r]*$", output[name.end() :], re.MULTILINE)
    return {"name": name.group(1), "number": int(number.group(1)) if number else None}


def cpu_clocks(root: Path = ROOT) -> list[dict[str, Any]]:
    """Return governor and clock limits, one entry for all cores that share them.

    ``jetson_clocks`` makes both limits the same, of the processor's clocks as of the GPU's.
    """
    groups: dict[tuple[str | None, int | None, int | None], list[int]] = {}
    for policy in (root / CPU_CLOCKS).glob("policy*"):
        limits = (_number(policy / "scaling_min_freq"), _number(policy / "scaling_max_freq"))
        cores = [int(core) for core in (read_text(policy / "affected_cpus") or "").split() if core.isdigit()]
        groups.setdefault((read_text(policy / "scaling_governor"), *limits), []).extend(cores)
    clocks = [
        {"cores": sorted(cores), "governor": governor, "min_khz": low, "max_khz": high}
        for (governor, low, high), cores in groups.items()
        if cores  # otherwise all cores of the policy are switched off
    ]
    return sorted(clocks, key=lambda clock: clock["cores"])


def gpu_clocks(root: Path = ROOT) -> list[dict[str, Any]]:
    """Return the clock limits of a Jetson's GPU; other GPUs have no entry here."""
    return [
        {"name": clock.name, "min_hz": _number(clock / "min_freq"), "max_hz": _number(clock / "max_freq")}
        for clock in sorted((root / DEVICE_CLOCKS).glob("*"))
        if GPU.search(clock.name) or GPU.search(read_text(clock / "device/of_node/name") or "")
    ]


def _number(path: Path) -> int | None:
    text = read_text(path)
    return int(text) if text is not None and text.isdigit() else None
