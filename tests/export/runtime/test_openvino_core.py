"""A process that has used OpenVINO in several threads can still be interrupted."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.bundles import DEVICE
from tests.support.command_line import ROOT

INTERRUPTED_LATER = """
import gc, signal, sys, threading
{opened}

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
BY_EXPORT = (
    "from export.runtime.openvino import OpenVinoSession\nfrom pathlib import Path\n"
    "kept = [OpenVinoSession(Path(sys.argv[1]), 'fp32')]"
)
BY_BUNDLE = "from pose_runtime import Pose\nkept = [Pose.load(sys.argv[1], runtime='openvino', precision='fp32')]"


def interrupted(opened: str, given: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(DEVICE)])
    command = [sys.executable, "-c", INTERRUPTED_LATER.format(opened=opened), str(given)]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_what_opens_openvino_here_leaves_signals_alone(typed_files: dict[str, Path]) -> None:
    run = interrupted(BY_EXPORT, typed_files["fp32"])
    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr


def test_what_opens_it_on_a_device_does_too(once_bundle: Path) -> None:
    run = interrupted(BY_BUNDLE, once_bundle)
    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr
