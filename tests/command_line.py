"""Running ``convnextpose`` as its users do: in a process of its own."""

import atexit
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cli.main import run

ROOT = Path(__file__).resolve().parent.parent
TEMPORARY = tempfile.mkdtemp(prefix="convnextpose-tests-")
"""Of this process: benchmarks of the other one, which share its machine, are not to be waited for."""
atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)


def convnextpose(*arguments: object, cwd: Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run it in ``cwd``; output and exit code are returned, never raised."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    environment["TMPDIR"] = TEMPORARY
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def assert_three_parts(run: subprocess.CompletedProcess[str], exit_code: int) -> None:
    """What failed, the value seen, what to do: on stderr, and no traceback."""
    assert run.returncode == exit_code, (run.stdout, run.stderr)
    assert "Traceback" not in run.stderr
    for part in ("error:", "seen:", "do:"):
        assert part in run.stderr, run.stderr


def convnextpose_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """The same within this process, which has imported everything already: for long tables of cases."""
    command = ["convnextpose", *map(str, arguments)]
    capsys.readouterr()
    exit_code = 0
    with monkeypatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", command)
        patch.setattr(sys, "excepthook", sys.excepthook)  # typer puts its own
        try:
            run()
        except SystemExit as end:
            exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
    said = capsys.readouterr()
    return subprocess.CompletedProcess(command, exit_code, said.out, said.err)
