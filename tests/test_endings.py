"""What ends a run, and what its caller is told."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import ROOT

ENDED_WITHIN_TEXT = """
import sys
from cli.endings import exit_code, hear_all_endings

hear_all_endings()
try:
    exec("import os, time; os.kill(os.getpid(), int(sys.argv[1])); time.sleep(10)")
except KeyboardInterrupt:
    sys.exit(exit_code())
"""
"""As where a library's import makes a dataclass."""


def end_within_text(folder: Path, number: signal.Signals, before: str = "") -> int:
    (folder / "ended.py").write_text(before + ENDED_WITHIN_TEXT)
    command = [sys.executable, "-m", "ended", str(int(number))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(command, env=environment, check=False, timeout=60).returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_end_within_code_given_as_text_keeps_its_exit_code(tmp_path: Path, number: signal.Signals) -> None:
    assert end_within_text(tmp_path, number) == 128 + number


def test_keyboard_interrupt_itself_would_lose_the_exit_code(tmp_path: Path) -> None:
    planted = "import cli.endings\ncli.endings.Ended = KeyboardInterrupt\n"
    assert end_within_text(tmp_path, signal.SIGTERM, planted) == -signal.SIGINT


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    ignored = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    (tmp_path / "ended.py").write_text(ignored + ENDED_WITHIN_TEXT.replace("time.sleep(10)", "pass"))
    command = [sys.executable, "-m", "ended", str(int(signal.SIGHUP))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == 0
