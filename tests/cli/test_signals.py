"""What ends a run, and what its caller is told."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import ROOT

ENDED_WITHIN_TEXT = """
import sys
from cli.signals import exit_code, install_handlers

install_handlers()
try:
    exec("import os, time; os.kill(os.getpid(), int(sys.argv[1])); time.sleep(30)")
except KeyboardInterrupt:
    sys.exit(exit_code())
"""
"""As where a library's import makes a dataclass."""


ENDED_WITHIN_FINALIZER = """
import os, sys, time
from cli.signals import exit_code, install_handlers

class Late:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))

install_handlers()
try:
    Late()
    time.sleep(SECONDS)
except KeyboardInterrupt:
    sys.exit(exit_code())
"""
"""As where a library's import gives a lock back."""


def end_within(code: str, folder: Path, number: signal.Signals) -> int:
    (folder / "ended.py").write_text(code)
    command = [sys.executable, "-m", "ended", str(int(number))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(command, env=environment, check=False, timeout=60).returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_end_within_code_given_as_text_keeps_its_exit_code(tmp_path: Path, number: signal.Signals) -> None:
    assert end_within(ENDED_WITHIN_TEXT, tmp_path, number) == 128 + number


def test_keyboard_interrupt_itself_would_lose_the_exit_code(tmp_path: Path) -> None:
    planted = "import cli.signals\ncli.signals.Interrupted = KeyboardInterrupt\n"
    assert end_within(planted + ENDED_WITHIN_TEXT, tmp_path, signal.SIGTERM) == -signal.SIGINT


SWALLOWED = """
import os, sys
import cli.main

def app():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
    except BaseException:
        raise EXCEPTION

cli.main.app = app
cli.main.run()
"""
"""As torch does within its imports."""


@pytest.mark.parametrize("error", ["RuntimeError('planted')", "cli.main.Failure('a', 'b', 'c')", "SystemExit(1)"])
def test_an_interrupt_counts_more_than_an_error_that_follows_it(tmp_path: Path, error: str) -> None:
    assert end_within(SWALLOWED.replace("EXCEPTION", error), tmp_path, signal.SIGTERM) == 128 + signal.SIGTERM


BUSY = """
import threading, time
start = threading.Thread.start
threading.Thread.start = lambda thread: (start(thread), time.sleep(0.2))
"""
"""As on a machine where a thread that was started is long ahead of the one that started it."""


@pytest.mark.parametrize("machine", ["", BUSY], ids=["idle", "busy"])
def test_an_end_within_a_finalizer_is_not_lost(tmp_path: Path, machine: str) -> None:
    code = machine + ENDED_WITHIN_FINALIZER.replace("SECONDS", "30")
    assert end_within(code, tmp_path, signal.SIGTERM) == 128 + signal.SIGTERM


def test_asked_for_only_once_it_would_be_lost(tmp_path: Path) -> None:
    planted = "import cli.signals\ncli.signals._RaiseAgain.__call__ = lambda self, lost: None\n"
    assert end_within(planted + ENDED_WITHIN_FINALIZER.replace("SECONDS", "0.5"), tmp_path, signal.SIGTERM) == 0


def test_an_end_is_heard_though_an_earlier_one_could_not_be_asked_for_again(tmp_path: Path) -> None:
    """Where no thread can be started, as at a limit of processes."""
    planted = """
import threading
def refused(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refused
"""
    later = "    time.sleep(0.2)\n    os.kill(os.getpid(), int(sys.argv[1]))\n    time.sleep(1)\n"
    code = planted + ENDED_WITHIN_FINALIZER.replace("    time.sleep(SECONDS)\n", later)
    assert end_within(code, tmp_path, signal.SIGTERM) == 128 + signal.SIGTERM


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    ignored = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    assert end_within(ignored + ENDED_WITHIN_TEXT.replace("time.sleep(30)", "pass"), tmp_path, signal.SIGHUP) == 0
