"""Temporary folders: used by one run, removed by the next one if that run was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.machine.temporary import OLD_S, temporary_folder
from tests.support.command_line import ROOT

KILLED = """
import os, signal
from bench.machine.temporary import temporary_folder
with temporary_folder("bench") as folder:
    (folder / "inputs.npy").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_killed_run_s_folder_is_removed(place: Path) -> None:
    environment = os.environ | {"TMPDIR": str(place), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    (leftover,) = place.iterdir()
    assert (leftover / "inputs.npy").exists()
    with temporary_folder("bench") as folder:
        assert list(place.iterdir()) == [folder]
    assert not list(place.iterdir())


def test_what_is_used_or_not_ours_stays(place: Path) -> None:
    names = ("convnextpose-bench-new", "convnextpose-bench-old", "other")
    for name in names:
        (place / name).mkdir()
        os.utime(place / name, (0, 0) if name != names[0] else None)
    (place / "convnextpose-bench-link").symlink_to(place / "other")
    with temporary_folder("bench") as first, temporary_folder("bench") as second:
        left = {path.name for path in place.iterdir()}
    assert left == {first.name, second.name, "convnextpose-bench-new", "convnextpose-bench-link", "other"}
    assert OLD_S > 3600


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_another_user_s_folder_stays(place: Path) -> None:
    theirs = place / "convnextpose-bench-theirs"
    theirs.mkdir()
    (theirs / ".lock").touch()
    os.chown(theirs, 4242, 4242)
    with temporary_folder("bench"):
        assert theirs.is_dir()
