"""Folders that cannot be written to, and disks that are full."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from export.common.files import PARTIAL_PREFIX
from tests.integration.bad_input.refusals import Here, assert_refused, left_in
from tests.support import bad_files as bad


def a_file(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("not a folder")
    return str(path)


OUTPUTS: dict[str, Callable[[Path], str]] = {
    "a file": lambda place: a_file(place / "out"),
    "below a file": lambda place: a_file(place / "out") + "/deeper",
    "below what cannot hold folders": lambda place: "/proc/nothing",
    "a file where the model's folder goes": lambda place: str(Path(a_file(place / "out/tiny")).parent),
    "name too long": lambda place: "x" * 300,
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_unwritable_output_folders(place: Path, here: Here, case: str) -> None:
    bad.good(place / "good")
    before = sorted(place.rglob("*"))
    out = OUTPUTS[case](place)
    made = {path: path.read_text() for path in place.rglob("*") if path.is_file() and path not in before}
    run = here("export", "tiny.yaml", "--checkpoint", "good", "--out", out)
    assert_refused(run, ("cannot write", re.escape(out[:50]), "--out"))
    assert {path: path.read_text() for path in made} == made
    assert sorted(p for p in place.rglob("*") if p.is_file() and p not in before) == sorted(made)


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 64 KiB; the weights alone need 170 KiB."""
    disk = place / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can only be mounted by root, where mounting is permitted")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(place: Path, here: Here, small_disk: Path) -> None:
    run = here("export", "tiny.yaml", "--checkpoint", bad.good(place / "good"), "--out", small_disk)
    assert_refused(run, ("cannot write", "No space left", "make room"))
    assert left_in(small_disk) == []
    assert list(small_disk.rglob(PARTIAL_PREFIX + "*")) == []
