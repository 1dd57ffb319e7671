"""Calls of ``convnextpose``: in a process of its own, or within this one."""

import atexit
import io
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from cli.main import run

ROOT = Path(__file__).resolve().parents[2]
TEMPORARY = tempfile.mkdtemp(prefix="convnextpose-tests-")
"""One for each test process: the locks of benchmarks lie there, and two processes must not share them."""
atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)
FEW_IMAGES = 40
"""As few as have a p99 for 18 joints."""


def convnextpose(
    *arguments: object, cwd: Path, timeout_s: float = 300, module: str = "cli.main"
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; return output and exit code, never raise."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    environment["TMPDIR"] = TEMPORARY
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def assert_three_parts(run: subprocess.CompletedProcess[str], exit_code: int) -> None:
    """Check that stderr says what failed, the value found and what to do, without a traceback."""
    assert run.returncode == exit_code, (run.stdout, run.stderr)
    assert "Traceback" not in run.stderr
    for part in ("error:", "found:", "try:"):
        assert part in run.stderr, run.stderr


def in_process(*arguments: object, cwd: Path, latency: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command within this process, which has imported everything already: about 3 s less for each call.

    Without ``latency`` an export ends before its latency table, which takes two processes and 10 s. Its parity and its
    calibration have ``FEW_IMAGES`` drawn figures.
    """
    command = ["convnextpose", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    exit_code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", command)
        patch.setattr(sys, "excepthook", sys.excepthook)  # typer sets its own
        if "TMPDIR" not in os.environ:  # a test may have set it, for locks of its own
            patch.setattr(tempfile, "tempdir", TEMPORARY)
        patch.setattr("export.parity.images.COUNT", FEW_IMAGES)
        patch.setattr("export.plan.calibration.DRAWN_IMAGES", FEW_IMAGES)
        if not latency:
            patch.setattr("bench.harness.latency_table.latency_table", lambda export, observer: None)
        try:
            run()
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            torch.set_num_threads(1)  # a latency step may have asked for more
    stdout, stderr = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(command, exit_code, stdout, stderr)
