"""Files that are written whole: their modes, other file systems, and limits on their size."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.bundle.output import whole_folder
from export.common.errors import BadInput
from export.common.files import apply_umask, move_file, whole_file, write_text


@pytest.fixture(params=[0o077, 0o022, 0o002])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_umask_decides_about_every_file(tmp_path: Path, mask: int) -> None:
    write_text(tmp_path / "new/file.txt", "text")
    (tmp_path / "by_hand.txt").write_text("text")
    assert mode(tmp_path / "new/file.txt") == mode(tmp_path / "by_hand.txt") == 0o666 & ~mask
    assert mode(tmp_path / "new") == 0o777 & ~mask
    with whole_folder(tmp_path / "whole") as folder:
        (folder / "program").touch(0o600)
        apply_umask(folder / "program", executable=True)
        (folder / "below").mkdir(0o700)
        apply_umask(folder / "below")
    for path in (tmp_path / "whole", tmp_path / "whole/below", tmp_path / "whole/program"):
        assert mode(path) == 0o777 & ~mask


@pytest.fixture
def other_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on another file system: a rename from or to it fails."""
    other, rename = tmp_path / "other", os.rename
    other.mkdir()

    def planted(source: "os.PathLike[str]", target: "os.PathLike[str]") -> None:
        if len({Path(path).is_relative_to(other) for path in (source, target)}) == 2:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", planted)
    monkeypatch.setattr(os, "replace", planted)
    return other


def test_a_file_moves_to_another_file_system(tmp_path: Path, other_file_system: Path) -> None:
    source, target = tmp_path / "file", other_file_system / "file"
    source.write_text("new")
    target.write_text("old")
    move_file(source, target)
    assert not source.exists()
    assert target.read_text() == "new"
    assert [path.name for path in other_file_system.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_renamed_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rename = tmp_path / "place", os.rename
    place.mkdir()
    (place / "old").touch()

    def planted(source: "os.PathLike[str]", target: "os.PathLike[str]") -> None:
        if Path(source) == place:  # as overlayfs answers for a folder of an image's lower layer
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", planted)
    with whole_folder(place) as folder:
        (folder / "new").touch()
    assert [path.name for path in place.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_limit_on_the_size_of_files_is_an_error_in_three_parts(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(BadInput, match=r"cannot write .*big.txt — File too large"):
            write_text(tmp_path / "big.txt", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with whole_file(tmp_path / "big.txt") as partial:
        shutil.copyfile(__file__, partial)
    assert [path.name for path in tmp_path.iterdir()] == ["big.txt"]
