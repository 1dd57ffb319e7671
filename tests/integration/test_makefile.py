"""The Makefile: every target that exports takes the options of the export."""

import os
import shlex
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
    [call] = exports_of(target, "MODEL=S", "EXPORT_ARGS=--images crops")
    assert call[-2:] == ["--images", "crops"]


@pytest.mark.parametrize("target", ["export", "bench", "bundle", "all"])
def test_a_target_searches_the_folder_of_weights(target: str) -> None:
    [call] = exports_of(target, "MODEL=S", "WEIGHTS=my files")
    assert call[call.index("--weights") + 1] == "my files"


def test_several_models_are_exported_in_one_call() -> None:
    [call] = exports_of("export", "MODELS=XS,S,M,L", "WEIGHTS=files")
    assert call[1:5] == ["export", "XS,S,M,L", "--weights", "files"]


def exports_of(*words: str) -> list[list[str]]:
    """Return the words of each export that make would start."""
    command = ["make", "--dry-run", "--old-file", ".venv/.ready", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.replace("\\\n", "").splitlines()
    return [shlex.split(line) for line in lines if "convnextpose export" in line]
