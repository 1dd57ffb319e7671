"""Commands with standard streams that are closed, full, without a reader, or in an encoding that lacks characters."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.support.command_line import ROOT

DOCTOR = f"{shlex.quote(sys.executable)} -m cli.main doctor"
MISSING = f"{shlex.quote(sys.executable)} -m cli.main inspect /no/such/:100:/file"
NO_SUCH = 2


def shell(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    run = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(run, env=variables, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        (f"{DOCTOR} >&-", 0, ""),
        (f"{DOCTOR} >/dev/full", 2, "No space left on device"),
        (f"{DOCTOR} --json >/dev/full", 2, "No space left on device"),
        (f"{DOCTOR} --help >/dev/full", 2, "No space left on device"),
        (f"{DOCTOR} | true", 141, ""),
        (f"{MISSING} 2>&-", NO_SUCH, ""),
        (f"{MISSING} 2>/dev/full", NO_SUCH, ""),
        (f"{MISSING} <&- >&- 2>&-", NO_SUCH, ""),
        (f"{MISSING} >/dev/full", NO_SUCH, "/no/such/:100:/file"),
    ],
)
def test_exit_code_with_broken_streams(command: str, code: int, text: str) -> None:
    run = shell(command)
    assert run.returncode == code, run.stderr
    assert text in run.stderr
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_characters_that_the_encoding_lacks(encoding: str) -> None:
    run = shell(f"{DOCTOR} --help; {MISSING.replace('100', chr(0x2192))}", PYTHONIOENCODING=encoding)
    assert run.returncode == NO_SUCH
    assert "Traceback" not in run.stderr
    assert "error: cannot read /no/such/:?:/file" in run.stderr


def test_a_closed_descriptor_is_not_given_to_a_file() -> None:
    code = "from cli.streams import prepare_streams; prepare_streams(); print(open('/dev/null').fileno())"
    run = shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} 2>&- <&-")
    assert int(run.stdout) > 2
