"""The Makefile: every target that exports takes the options of the export."""

import os
import subprocess

import pytest

from tests.support.command_line import ROOT


def test_the_gate_names_its_missing_baseline() -> None:
    words = ["make", "--old-file", ".venv/.ready", "bench-gate", "MODEL=S", "BASE="]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "set BASE to the folder of the earlier export" in done.stderr


@pytest.mark.parametrize("target", ["export", "bench", "bundle", "all"])
def test_a_target_passes_the_options_of_its_export(target: str) -> None:
    words = ["make", "--dry-run", "--old-file", ".venv/.ready", target, "MODEL=S", "EXPORT_ARGS=--images crops"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    calls = [line for line in done.stdout.replace("\\\n", "").splitlines() if "convnextpose export" in line]
    assert [line.split()[-2:] for line in calls] == [["--images", "crops"]]
