"""A Jetson's power mode: it decides how many cores and which clocks there are, and so every latency.

``nvpmodel -q`` prints the mode's name and, in a line of its own, its number. Before, between or behind them may stand
warnings and errors: without root some of its files cannot be read, and then it may end with a failure although it has
said the mode.
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
"""Where JetPack has it, for a user whose PATH lacks the system's programs."""
LIMIT_S = 10.0
"""It answers at once, or its service hangs."""
GOES_S = 1.0
"""For a killed one to be gone; one that hangs in the kernel is not waited for."""


def power_mode(limit_s: float = LIMIT_S) -> tuple[dict[str, Any] | None, str | None]:
    """The mode, as ``{"name": "MAXN", "number": 0}``, and None; or None and why it is not known."""
    tool = shutil.which(TOOL) or shutil.which(TOOL, path=PLACES)
    if tool is None:
        return None, f"there is no {TOOL}"
    try:
        said = _answer([tool, "-q"], limit_s)
    except subprocess.TimeoutExpired:
        return None, f"{TOOL} -q did not answer within {limit_s:g} s"
    except OSError as error:
        return None, f"{TOOL} -q does not run: {error.strerror or error}"
    mode = read_mode(said)
    if mode is None:
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "nothing")
        return None, f"{TOOL} -q says no mode: {last}"
    return mode, None


def read_mode(said: str) -> dict[str, Any] | None:
    """What ``nvpmodel -q`` says → name and number; a number that it does not say is None, and so is all without a name.

    >>> read_mode("NVPM WARN: fan mode is not set!\\nNV Power Mode: MODE_15W_2CORE\\n2\\n")
    {'name': 'MODE_15W_2CORE', 'number': 2}
    """
    name = re.search(r"NV Power Mode:[ \t]*(\S.*?)[ \t\r]*$", said, re.MULTILINE)
    if name is None:
        return None
    number = re.search(r"^[ \t]*(\d+)[ \t\r]*$", said[name.end() :], re.MULTILINE)
    return {"name": name.group(1), "number": int(number.group(1)) if number else None}


def _answer(command: list[str], limit_s: float) -> str:
    """All that it says. Into a file: a pipe stays open as long as any child of a program that hangs."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            child.wait(limit_s)
        except BaseException:  # Ctrl-C, too, which does not reach its session
            with suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)  # what it has started as well
            with suppress(subprocess.TimeoutExpired):
                child.wait(GOES_S)
            raise
        said.seek(0)
        return said.read().decode(errors="replace")
