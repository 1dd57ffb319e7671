"""Check of a refusal."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.command_line import assert_three_parts

Run = subprocess.CompletedProcess[str]
Here = Callable[..., Run]


def left_in(out: Path) -> list[str]:
    """Return all files of a run but the lock."""
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name != ".lock")


def assert_refused(run: Run, said: tuple[str, ...], exit_code: int = 2) -> None:
    assert_three_parts(run, exit_code)
    told = run.stderr[run.stderr.index("error:") :]
    assert len(told.strip().splitlines()) == 3, told
    assert run.stdout == "" or run.stdout.startswith("\nContradictions in the weights")
    assert "weights_only" not in told  # torch's own advice is to switch the protection off
    for part in said:
        assert re.search(part, told), (part, told)
