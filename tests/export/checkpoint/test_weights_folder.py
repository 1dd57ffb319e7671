"""Choice of the file in a folder of checkpoints whose content fits a model."""

from pathlib import Path

import pytest

from export.checkpoint import weights_folder
from export.checkpoint.weights_folder import WeightsFolder
from export.common.errors import BadInput
from export.model.config import load_config
from tests.support.checkpoints import alive_weights, write
from tests.support.grid import halved


def chosen(path: Path, model: str, *, required: bool = False) -> str | None:
    found = WeightsFolder(path, required=required).find(load_config(model))
    return None if found is None else found.relative_to(path).as_posix()


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
    monkeypatch.setattr(weights_folder, "_read", pytest.fail)
    assert chosen(tmp_path, "S") is None
