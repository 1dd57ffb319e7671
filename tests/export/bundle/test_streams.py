"""The bundle's programs with standard streams that are closed, full, or in an encoding that lacks characters."""

import os
import shlex
import subprocess
import sys

import pytest

from export.bundle.verify import DEVICE

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import verify
sys.exit(verify.run_program(lambda: print("c", file=sys.stderr) or print("a\\u2013b") or 0))
"""
PROGRAM = f"{shlex.quote(sys.executable)} -c {shlex.quote(CODE)} {shlex.quote(str(DEVICE))}"


@pytest.mark.parametrize(
    ("redirection", "encoding", "code", "text"),
    [
        ("", "latin-1", 0, "a?b"),
        ("", "utf-8", 0, "a\u2013b"),
        (">&-", "utf-8", 0, ""),
        ("<&- >&- 2>&-", "utf-8", 0, ""),
        ("2>/dev/full", "ascii", 0, "a?b"),
        (">/dev/full", "utf-8", 2, "No space left on device"),
        ("| true", "utf-8", 141, ""),  # as of a program that SIGPIPE ends: no message
    ],
)
def test_exit_code_and_output(redirection: str, encoding: str, code: int, text: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["bash", "-o", "pipefail", "-c", f"{PROGRAM} {redirection}"]
    run = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == code, run.stderr
    assert text in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
