"""A process that used OpenVINO in several threads can still be interrupted."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.bundles import DEVICE
from tests.support.command_line import ROOT

INTERRUPTED_LATER = """
import gc, signal, sys, threading
{opening}

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


def run_interrupted(opening: str, model: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(DEVICE)])
    command = [sys.executable, "-c", INTERRUPTED_LATER.format(opening=opening), str(model)]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_ctrl_c_after_another_thread_closed_openvino(typed_files: dict[str, Path]) -> None:
    run = run_interrupted(BY_EXPORT, typed_files["fp32"])
    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr


def test_ctrl_c_after_another_thread_closed_a_bundle_s_openvino(once_bundle: Path) -> None:
    run = run_interrupted(BY_BUNDLE, once_bundle)
    assert (run.returncode, run.stdout) == (0, "interrupted\n"), run.stderr
