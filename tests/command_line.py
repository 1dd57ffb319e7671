"""Running ``convnextpose`` as its users do: in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def convnextpose(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run it in ``cwd``; output and exit code are returned, never raised."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def assert_three_parts(run: subprocess.CompletedProcess[str], exit_code: int) -> None:
    """What failed, the value seen, what to do: on stderr, and no traceback."""
    assert run.returncode == exit_code, (run.stdout, run.stderr)
    assert "Traceback" not in run.stderr
    for part in ("error:", "seen:", "do:"):
        assert part in run.stderr, run.stderr
