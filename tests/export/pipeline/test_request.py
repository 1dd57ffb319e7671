"""The checkpoint of an export is found under its released name or as its only copy, and never guessed."""

from pathlib import Path

import pytest

from export.checkpoint.weights_folder import WeightsFolder
from export.common.errors import BadInput
from export.model.config import load_config
from export.pipeline.request import ExportRequest

XS = load_config("XS")


def folder_with(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).write_bytes(b"x")
    return path


@pytest.mark.parametrize("name", ["ConvNeXtPose_XS.tar", "ConvNeXtPose_XS", "snapshot_67.pth"])
def test_a_released_name_comes_first(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path, name, "ConvNeXtPose_XS (1).tar", "ConvNeXtPose_XS (2).tar")
    assert WeightsFolder(folder).find(XS) == folder / name


@pytest.mark.parametrize(
    "name",
    [
        *("ConvNeXtPose_XS (1).tar", "ConvNeXtPose_XS(2).tar", "ConvNeXtPose_XS (1)", "ConvNeXtPose_XS - Copy.tar"),
        *("Copy of ConvNeXtPose_XS.tar", "ConvNeXtPose_XS copy 2.tar", "ConvNeXtPose_XS.tar.1", "convnextpose_xs.tar"),
        *("ConvNeXtPose_XS.tar.crdownload", "ConvNeXtPose-XS.pth", "snapshot_67.pth (1).tar", "snapshot_67-1.pth"),
    ],
)
def test_a_single_copy_is_taken(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path, name, "README.md", "ConvNeXtPose_S.tar", "ConvNeXtPose_XS.tar.sha256")
    assert WeightsFolder(folder).find(XS) == folder / name


@pytest.mark.parametrize(
    "name",
    ["ConvNeXtPose_S (1).tar", "ConvNeXtPose_XSL.tar", "snapshot_6.pth", "snapshot_670.pth", "._snapshot_67.pth"],
)
def test_other_files_are_not_taken(tmp_path: Path, name: str) -> None:
    assert WeightsFolder(folder_with(tmp_path, name)).find(XS) is None


def test_a_key_needs_a_checkpoint() -> None:
    with pytest.raises(BadInput, match="--weights-key needs a checkpoint"):
        ExportRequest(XS, weights_key="ema")
