"""The power mode of a Jetson, which decides how many cores run and how fast, and so every latency.

``nvpmodel -q`` prints the mode's name and, in a line of its own, its number. Warnings and errors may stand before,
between or after them: without root it cannot read some of its files, and may fail after it has printed the mode.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from typing import Any

TOOL, PLACES = "nvpmodel", "/usr/sbin:/usr/bin:/sbin:/bin"
"""The tool, and its folders in JetPack, for a user without the system's programs in PATH."""
LIMIT_S = 10.0
"""Longest wait for the tool, which answers at once unless its service hangs."""
KILL_S = 1.0
"""Longest wait for the end of a killed tool; one that hangs in the kernel does not end."""


def power_mode(limit_s: float = LIMIT_S) -> tuple[dict[str, Any] | None, str | None]:
    """Return the mode, as ``{"name": "MAXN", "number": 0}``, and None; or None and why it is not known."""
    tool = shutil.which(TOOL) or shutil.which(TOOL, path=PLACES)
    if tool is None:
        return None, f"there is no {TOOL}"
    try:
        output = _output([tool, "-q"], limit_s)
    except subprocess.TimeoutExpired:
        return None, f"{TOOL} -q did not answer within {limit_s:g} s"
    except OSError as error:
        return None, f"{TOOL} -q does not run: {error.strerror or error}"
    mode = parse_mode(output)
    if mode is None:
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "nothing")
        return None, f"{TOOL} -q prints no mode: {last}"
    return mode, None


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


def _output(command: list[str], limit_s: float) -> str:
    """Return the tool's output, through a file: a pipe stays open as long as any child of a hanging program."""
    with tempfile.TemporaryFile() as file:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            child.wait(limit_s)
        except BaseException:  # also Ctrl-C, which does not reach the child's session
            with suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)  # and what it started
            with suppress(subprocess.TimeoutExpired):
                child.wait(KILL_S)
            raise
        file.seek(0)
        return file.read().decode(errors="replace")
