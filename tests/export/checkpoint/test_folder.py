"""Search of a folder for checkpoints, and the choice of the file whose content fits a model."""

import os
from pathlib import Path
from typing import Any

import pytest

from export.checkpoint import folder as searched
from export.checkpoint.folder import WeightsFolder, is_one_checkpoint, search_folder
from export.checkpoint.folder_inspection import inspect_folder
from export.common.errors import BadInput
from export.model.config import load_config
from tests.support.checkpoints import Form, State, alive_weights, declared, write
from tests.support.grid import blank_weights


def halved(model: str) -> State:
    """Return blank weights of a declared model, half as large."""
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights_of(model).items()}


def weights_of(model: str) -> State:
    return blank_weights(declared(model))


def found_in(path: Path) -> set[str]:
    return {found.relative_to(path).as_posix() for found in search_folder(path).paths}


def chosen(path: Path, model: str, *, required: bool = False) -> str | None:
    found = WeightsFolder(path, required=required).find(load_config(model))
    return None if found is None else found.relative_to(path).as_posix()


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


def test_a_link_to_a_folder_is_searched(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/ConvNeXtPose_S.tar", halved("S"), "bare")
    (tmp_path / "weights").symlink_to("elsewhere")
    assert chosen(tmp_path / "weights", "S") == "ConvNeXtPose_S.tar"


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


@pytest.mark.parametrize(("most", "complete"), [(2, False), (3, False), (4, True)])
def test_the_search_is_bounded_and_says_so(tmp_path: Path, most: int, complete: bool) -> None:
    for name in ("a", "b", "below/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    search = search_folder(tmp_path, most)
    assert search.complete is complete
    assert search.entries == most
    assert ("first" in (search.notice or "")) is not complete
    assert str(most) in (search.notice or str(most))


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


# ── the choice ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released files as the public copy has them; M and L have each other's names."""
    path = tmp_path_factory.mktemp("four")
    write(path / "snapshot_68.pth", halved("XS-atto"), "bare")
    write(path / "snapshot_67.pth", halved("S"), "bare")
    write(path / "deep/er/ConvNeXtPose_L.tar", halved("M"), "bare")
    write(path / "deep/ConvNeXtPose_M.tar", halved("L"), "bare")
    (path / "README.md").write_text("notes")
    return path


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("XS", "snapshot_68.pth"),
        ("XS-atto", "snapshot_68.pth"),
        ("S", "snapshot_67.pth"),
        ("M", "deep/er/ConvNeXtPose_L.tar"),
        ("L", "deep/ConvNeXtPose_M.tar"),
    ],
)
def test_content_decides_and_not_the_name(four: Path, model: str, file: str) -> None:
    assert chosen(four, model) == chosen(four, model, required=True) == file


@pytest.mark.parametrize("name", ["snapshot_67.pth", "snapshot_68.pth", "ConvNeXtPose_XS.tar", "mine.bin"])
@pytest.mark.parametrize("content", ["XS", "XS-atto"])
def test_xs_is_found_under_every_name_with_either_content(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path / name, halved(content), "bare")
    assert chosen(tmp_path, "XS") == name
    assert chosen(tmp_path, "S") == (name if content == "XS" else None)


def test_the_name_decides_between_files_that_fit(tmp_path: Path) -> None:
    for name, value in {"snapshot_67.pth": 1, "snapshot_68.pth": 2, "other.pth": 3}.items():
        write(tmp_path / name, {key: tensor * value for key, tensor in halved("S").items()}, "bare")
    assert (chosen(tmp_path, "XS"), chosen(tmp_path, "S")) == ("snapshot_68.pth", "snapshot_67.pth")


def test_two_files_without_a_name_are_the_users_choice(tmp_path: Path) -> None:
    for name, value in {"a.pth": 1, "b.pth": 2}.items():
        write(tmp_path / name, {key: tensor * value for key, tensor in halved("S").items()}, "bare")
    with pytest.raises(BadInput, match=r"several files.*'a\.pth', 'b\.pth'.*--checkpoint") as caught:
        chosen(tmp_path, "S")
    assert caught.value.exit_code == 2
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes())
    assert chosen(tmp_path, "S") == "a.pth"


def test_a_good_file_comes_before_a_damaged_one_with_the_name(tmp_path: Path) -> None:
    write(tmp_path / "good.pth", halved("S"), "bare")
    (tmp_path / "ConvNeXtPose_S.tar").write_bytes((tmp_path / "good.pth").read_bytes()[:-1000])
    assert chosen(tmp_path, "S") == "good.pth"
    (tmp_path / "good.pth").unlink()
    assert chosen(tmp_path, "S") == "ConvNeXtPose_S.tar"  # reading it tells what is wrong


def test_a_file_with_the_name_of_a_model_and_the_content_of_another_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "ConvNeXtPose_M.tar", halved("S"), "bare")
    with pytest.raises(BadInput, match=r"is not M, although it has its name.*equals XS and S.*--checkpoint"):
        chosen(tmp_path, "M")


def test_a_changed_network_is_found_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "ConvNeXtPose_M.tar", alive_weights())
    assert chosen(tmp_path, "M") == "ConvNeXtPose_M.tar"
    assert chosen(tmp_path, "L") is None


def test_a_folder_that_the_user_names_must_have_the_model(four: Path, tmp_path: Path) -> None:
    assert chosen(tmp_path / "nowhere", "S") is None
    for path, problem in (
        (tmp_path / "nowhere", "no such folder"),
        (four / "snapshot_67.pth", "a file"),
        (four / "deep", r"no file in .* fits S.*they equal M, L"),
    ):
        with pytest.raises(BadInput, match=problem):
            chosen(path, "S", required=True)


def test_only_files_that_may_be_checkpoints_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export without a checkpoint must not load torch for the note in ``weights/``."""
    (tmp_path / "README.md").write_text("notes")
    monkeypatch.setattr(searched, "_read", pytest.fail)
    assert chosen(tmp_path, "S") is None
