"""Declared models, and refusals of wrong declarations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from export.common.errors import BadInput
from export.model.architecture import BACKBONES
from export.model.config import CONFIG_FOLDER, Alternative, declared_models, load_config


def test_five_models_are_declared() -> None:
    assert declared_models() == ["XS-atto", "XS", "S", "M", "L"]
    assert {path.stem for path in CONFIG_FOLDER.iterdir()} == set(declared_models())


@pytest.mark.parametrize(
    ("model", "backbone", "head", "depth_dim", "upsamplings", "file"),
    [
        ("XS-atto", "Atto", 128, 32, 2, "snapshot_68.pth"),
        ("XS", "Femto-L", 256, 32, 2, "snapshot_68.pth"),
        ("S", "Femto-L", 256, 32, 2, "snapshot_67.pth"),
        ("M", "Femto-L", 256, 64, 3, "snapshot_70.pth"),
        ("L", "Femto-L", 512, 64, 3, "snapshot_83.pth"),
    ],
)
def test_declarations(model: str, backbone: str, head: int, depth_dim: int, upsamplings: int, file: str) -> None:
    config = load_config(model)
    assert (config.name, config.backbone) == (model, backbone)
    assert (config.depths, config.dims) == BACKBONES[backbone]
    assert (config.head_channels, config.head_kernels) == ((head,) * 3, (3, 3, 3))
    assert (config.joints, config.depth_dim, config.input_size) == (18, depth_dim, 256)
    assert config.upsamplings is None  # the rule gives it
    assert config.architecture.upsamplings == upsamplings
    assert config.architecture.heatmap_size == depth_dim
    released = "ConvNeXtPose_" + model.removesuffix("-atto")
    assert config.files[:3] == (f"{released}.tar", f"{file}.tar", file)
    # the public copy against the note's table: it is not decided which file has which of these names
    exchanged = {"snapshot_67.pth": "snapshot_68.pth", "snapshot_68.pth": "snapshot_67.pth"}.get(file)
    assert config.files[3:] == ((f"{exchanged}.tar", exchanged) if exchanged else ())


def test_the_published_xs_is_an_alternative_with_its_source() -> None:
    assert load_config("XS").alternative == Alternative(model="XS-atto", source="public copy")
    assert {load_config(model).alternative for model in ("XS-atto", "S", "M", "L")} == {None}


def own_config(path: Path, **changes: Any) -> Path:
    """A user's configuration beside nothing else; a change to ``...`` takes the field away."""
    fields = {**load_config("S").model_dump(mode="json"), "name": "mine", **changes}
    path.write_text(yaml.safe_dump({name: value for name, value in fields.items() if value is not ...}))
    return path


@pytest.mark.parametrize("name", ["mine.yaml", "mine.yml", "deeper/L.yaml"])
def test_a_users_own_file_works_by_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "deeper").mkdir()
    config = load_config(str(own_config(tmp_path / name, joints=21, head_kernels=[7, 5, 3], upsamplings=1)))
    assert config.name == "mine"
    assert config.architecture.joints == 21
    assert config.architecture.head_kernels == (7, 5, 3)
    assert config.architecture.upsamplings == 1  # declared, so the rule is not asked
    assert config.architecture.heatmap_size == 16


CLAIM = {"source": "paper", "words": "w"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"heads": [1]}, ["heads: unknown key"], id="unknown key"),
        pytest.param({"claims": [CLAIM | {"parameters": "many"}]}, ["claims.0.parameters"], id="figure no number"),
        pytest.param({"joints": ...}, ["joints", "required"], id="missing key"),
        pytest.param({"joints": "eighteen"}, ["joints", "eighteen"], id="word for a number"),
        pytest.param({"joints": 0}, ["joints"], id="no joints"),
        pytest.param({"head_channels": [256] * 4}, ["head_channels"], id="four head layers"),
        pytest.param({"head_kernels": [3, 4, 3]}, ["head_kernels.1", "4"], id="even kernel"),
        pytest.param({"input_size": 250}, ["input_size", "multiple of 64"], id="odd input size"),
        pytest.param({"depth_dim": 48}, ["depth_dim 48", "declare upsamplings"], id="no cube"),
        pytest.param({"dims": [40, 80, 160, 320]}, ["backbone Femto-L has", "48"], id="backbone against dims"),
        pytest.param({"name": "../x"}, ["name", "../x"], id="name leads out of the folder"),
        pytest.param({"name": "x" * 65}, ["name"], id="endless name"),
    ],
)
def test_wrong_declarations(tmp_path: Path, changes: dict[str, Any], said: list[str]) -> None:
    path = own_config(tmp_path / "mine.yaml", **changes)
    with pytest.raises(BadInput) as caught:
        load_config(str(path))
    assert all(part in caught.value.detail for part in said), caught.value.detail
    assert str(path) in caught.value.problem
    assert "configs/L.yaml" in caught.value.advice


def test_nothing_in_a_configuration_is_executed(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "mine.yaml"
    path.write_text(f"name: !!python/object/apply:os.system ['touch {marker}']\n")
    with pytest.raises(BadInput, match=r"os\.system"):
        load_config(str(path))
    assert not marker.exists()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: None, id="missing"),
        pytest.param(lambda path: path.mkdir(), id="a folder"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe\x00\xd8"), id="not text"),
    ],
)
def test_unreadable_files(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "mine.yaml"
    make(path)
    with pytest.raises(BadInput, match="cannot read the configuration"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("asked", "suggested"),
    [
        ("atto", "XS-atto"),
        ("xs_atto", "XS-atto"),
        ("", None),
        ("XS\0", None),
    ],
)
def test_unknown_models(asked: str, suggested: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        load_config(asked)
    assert repr(asked) in caught.value.detail
    assert "XS-atto, XS, S, M, L" in caught.value.detail
    if suggested is not None:
        assert f"did you mean {suggested}?" in caught.value.advice
    assert ".yaml" in caught.value.advice


@pytest.mark.parametrize("asked", ["../configs/L.yaml", "L.yaml"])
def test_a_path_is_taken_as_it_is_and_not_looked_for_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="cannot read the configuration"):
        load_config(asked)
