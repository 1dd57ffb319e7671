"""Temporary folders: used by one run, removed by the next one if that run was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from export.bundle.output import whole_folder
from export.common.files import PARTIAL_PREFIX, write_text
from export.common.temporary import OLD_S, temporary_folder
from export.runtime.host import TEMPORARY_PREFIX
from tests.support.command_line import ROOT

KILLED = """
import os, signal
from export.common.temporary import temporary_folder
from export.runtime.host import TEMPORARY_PREFIX
with temporary_folder(TEMPORARY_PREFIX) as folder:
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
    with temporary_folder(TEMPORARY_PREFIX) as folder:
        assert list(place.iterdir()) == [folder]
    assert not list(place.iterdir())


def test_what_is_used_or_not_ours_stays(place: Path) -> None:
    names = ("convnextpose-run-new", "convnextpose-run-old", "other")
    for name in names:
        (place / name).mkdir()
        os.utime(place / name, (0, 0) if name != names[0] else None)
    (place / "convnextpose-run-link").symlink_to(place / "other")
    with temporary_folder(TEMPORARY_PREFIX) as first, temporary_folder(TEMPORARY_PREFIX) as second:
        left = {path.name for path in place.iterdir()}
    assert left == {first.name, second.name, "convnextpose-run-new", "convnextpose-run-link", "other"}
    assert OLD_S > 3600


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_another_user_s_folder_stays(place: Path) -> None:
    theirs = place / "convnextpose-run-theirs"
    theirs.mkdir()
    (theirs / ".lock").touch()
    os.chown(theirs, 4242, 4242)
    with temporary_folder(TEMPORARY_PREFIX):
        assert theirs.is_dir()


def test_a_killed_bundle_is_removed_by_the_next_one(place: Path) -> None:
    program = "from export.bundle.output import whole_folder\nwith whole_folder(Path('bundle')) as folder:\n"
    program = f"import os, signal\nfrom pathlib import Path\n{program}    os.kill(os.getpid(), signal.SIGKILL)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], cwd=place, env=environment, check=False)
    (leftover,) = place.iterdir()
    assert (leftover / "bundle").is_dir()
    with whole_folder(place / "bundle") as used, whole_folder(place / "other"):
        assert used.is_dir()
    assert {path.name for path in place.iterdir()} == {"bundle", "other"}


def test_an_old_unfinished_file_is_removed_by_the_next_one_beside_it(place: Path) -> None:
    names = (f"{PARTIAL_PREFIX}old.zip", f"{PARTIAL_PREFIX}new.zip", ".partial-of-another-program")
    for name in names:
        (place / name).touch()
        os.utime(place / name, None if name == names[1] else (0, 0))
    write_text(place / "file", "text")
    assert {path.name for path in place.iterdir()} == {*names[1:], "file"}
