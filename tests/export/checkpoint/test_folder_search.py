"""Search of a folder for checkpoints: what is found, what is passed over, and where it ends."""

import os
from pathlib import Path
from typing import Any

import pytest

from export.checkpoint.folder_inspection import inspect_folder
from export.checkpoint.folder_search import is_one_checkpoint, search_folder
from export.checkpoint.weights_folder import WeightsFolder
from tests.support.checkpoints import Form, alive_weights, write


def found_in(path: Path) -> set[str]:
    return {found.relative_to(path).as_posix() for found in search_folder(path).paths}


def test_files_and_unpacked_folders_are_found_at_any_depth(tmp_path: Path) -> None:
    write(tmp_path / "a.pth", alive_weights())
    write(tmp_path / "one/two/three/four/b.pth", alive_weights(), "folder")
    (tmp_path / "one/notes.txt").write_text("notes")
    (tmp_path / "__MACOSX").mkdir()
    for hidden in ("__MACOSX/a.pth", ".a.pth", "one/.DS_Store"):
        (tmp_path / hidden).write_text("left by a tool")
    assert found_in(tmp_path) == {"a.pth", "one/notes.txt", "one/two/three/four/b.pth"}


def test_the_name_of_an_inner_folder_counts_too(tmp_path: Path) -> None:
    """Torch writes the name that a file had when it was saved into the zip."""
    write(tmp_path / "model/download/snapshot_83.pth", alive_weights(), "folder")
    write(tmp_path / "model/more", alive_weights(), "folder")
    search = search_folder(tmp_path)
    [path] = [path for path in search.paths if path.name == "snapshot_83.pth"]
    assert "snapshot_83.pth" in search.names(path)
    [path] = [path for path in search.paths if path.name == "more"]
    assert search.names(path) == ("model", "more", "more")


def test_an_unpacked_folder_without_its_pickle_is_one_path(tmp_path: Path) -> None:
    """A public copy looks like this."""
    unpacked = write(tmp_path / "snapshot_68", alive_weights(), "folder")
    next(unpacked.rglob("data.pkl")).unlink()
    assert found_in(tmp_path) == {"snapshot_68"}


def test_a_folder_called_data_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/000001").write_bytes(b"x")
    write(tmp_path / "a.pth", alive_weights())
    assert found_in(tmp_path) == {"a.pth", "data/000001"}


def test_links_that_loop_end(tmp_path: Path) -> None:
    write(tmp_path / "below/a.pth", alive_weights())
    (tmp_path / "below/up").symlink_to(tmp_path)
    (tmp_path / "below/self").symlink_to("self")
    (tmp_path / "nothing").symlink_to("nowhere")
    (tmp_path / "again").symlink_to("below")
    found = found_in(tmp_path)
    assert {name.split("/")[-1] for name in found} == {"a.pth", "self", "nothing"}
    assert len(found) == 3


def test_a_folder_that_cannot_be_read_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(path: Path) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    write(tmp_path / "a.pth", alive_weights())
    (tmp_path / "closed").mkdir()
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", refusing)
    search = search_folder(tmp_path)
    assert [search.names(path) for path in search.paths] == [("a.pth",), ("closed",)]
    [row] = [row for row in inspect_folder(search).files if row.path.endswith("closed")]
    assert "Permission denied" in (row.reason or "")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ConvNeXtPose_XS.tar")
    assert found_in(tmp_path) == {"ConvNeXtPose_XS.tar"}
    assert WeightsFolder(tmp_path).files == ()


@pytest.mark.parametrize(
    ("names", "one"),
    [
        ({"snapshot_83": "folder"}, True),
        ({"deeper/snapshot_83": "folder"}, False),  # three levels, with the one that was packed
        ({"snapshot_83": "folder", "a.pth": "bare"}, False),
        ({"a": "folder", "b": "folder"}, False),
        ({"a.pth": "bare"}, False),
        ({}, True),
    ],
)
def test_a_folder_is_one_checkpoint_or_many(tmp_path: Path, names: dict[str, Form], one: bool) -> None:
    for name, form in names.items():
        write(tmp_path / name, alive_weights(), form)
    (tmp_path / "readme.txt").write_text("notes")
    assert is_one_checkpoint(search_folder(tmp_path)) is one
