"""A process that used OpenVINO in several threads can still be interrupted."""

import subprocess
import sys
from pathlib import Path

from tests.support.command_line import ROOT

INTERRUPTED_LATER = """
import gc, signal, sys, threading
from pathlib import Path
from export.runtime.openvino import OpenVinoSession
kept = [OpenVinoSession(Path(sys.argv[1]), "fp32")]

def drop():
    kept.clear()
    gc.collect()

thread = threading.Thread(target=drop)
thread.start()
thread.join()
try:
    signal.raise_signal(signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_another_thread_closed_openvino(typed_files: dict[str, Path]) -> None:
    command = [sys.executable, "-c", INTERRUPTED_LATER, str(typed_files["fp32"])]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr
