"""Declared, found, used: weights win, the command line fills what they cannot tell, and every source is named."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cli.render.checkpoint import count_notice
from export.checkpoint.inspection import inspect_checkpoint
from export.checkpoint.loading import Checkpoint, read_checkpoint
from export.checkpoint.records import BY_RULE, NearestModel, VerdictRow, used_alternative
from export.checkpoint.verdict import Verdict, judge, nearest_models
from export.common.errors import BadInput, CheckFailed
from export.model.architecture import Architecture
from export.model.config import ModelConfig, load_config
from export.pipeline.options import parse_overrides, require_agreement, require_declared_count
from tests.support.checkpoints import HeadSpelling, declared, spelled, write
from tests.support.grid import blank_weights

FILES: dict[str, Architecture] = {
    "Atto": declared("XS-atto"),
    "depth 32": declared("S"),
    "depth 64": declared("M"),
    "head 512": declared("L"),
    "21 joints": replace(declared("M"), joints=21),
    "21 joints, depth 32": replace(declared("S"), joints=21),
    "kernels 7": replace(declared("M"), head_kernels=(7, 7, 7)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """Blank weights of full size, spelled as the released files are, read from real files."""
    folder, read = tmp_path_factory.mktemp("files"), {}
    for name, architecture in FILES.items():
        head: HeadSpelling = "positional" if name in ("depth 64", "head 512") else "named"
        path = write(folder / name, spelled(blank_weights(architecture), head), "bare")
        read[name] = read_checkpoint(path)
        path.unlink()
    return read


def rows(verdict: Verdict) -> dict[str, VerdictRow]:
    return {row.field: row for row in verdict.rows}


def judged(files: dict[str, Checkpoint], model: str, file: str | None, *settings: str) -> Verdict:
    return judge(load_config(model), files[file] if file else None, parse_overrides(settings))


FIELDS = ("depths", "dims", "head_channels", "head_kernels", "joints", "depth_dim", "upsamplings", "input_size")


@pytest.mark.parametrize(
    ("model", "file", "differing", "nearest"),
    [
        ("M", "depth 32", ["depth_dim", "upsamplings"], {"XS": (), "S": ()}),
        ("S", "depth 64", ["depth_dim", "upsamplings"], {"M": ()}),
        ("S", "Atto", ["depths", "dims", "head_channels"], {"XS-atto": ()}),
        ("XS-atto", "Atto", [], {"XS-atto": ()}),
        ("M", "head 512", ["head_channels"], {"L": ()}),
        ("M", "21 joints", ["joints"], {"M": ("joints",)}),
        ("M", "21 joints, depth 32", ["joints", "depth_dim", "upsamplings"], {"XS": ("joints",), "S": ("joints",)}),
        ("M", "kernels 7", ["head_kernels"], {"M": ("head_kernels",)}),
    ],
)
def test_weights_win(
    files: dict[str, Checkpoint],
    model: str,
    file: str,
    differing: Sequence[str],
    nearest: Mapping[str, tuple[str, ...]],
) -> None:
    verdict = judged(files, model, file)
    assert verdict.architecture == FILES[file]
    assert [row.field for row in verdict.rows] == list(FIELDS)
    assert [row.field for row in verdict.rows if not row.agrees] == differing
    assert {near.model: near.differs_in for near in verdict.nearest} == nearest
    for field, row in rows(verdict).items():
        assert row.declared == (BY_RULE if field == "upsamplings" else getattr(declared(model), field))
        assert row.used == getattr(FILES[file], field)
        shown = field not in ("upsamplings", "input_size")
        assert row.source == ("weights" if shown else "rule" if field == "upsamplings" else "configuration")
        assert row.detected == (row.used if shown else None)


@pytest.mark.parametrize(
    ("file", "field", "why"),
    [
        ("depth 32", "depth_dim", "module.head.final_layer.weight [576, 256, 1, 1] = 18 × 32"),
        ("21 joints", "joints", "module.head.final_layer.weight [1344, 256, 1, 1] = 21 × 64"),
        ("depth 32", "head_channels", "module.head.deconv_layers_1.pwconv.weight [256, 384, 1, 1]"),
        ("kernels 7", "head_kernels", "module.head.deconv_layers_1.dwconv.weight [384, 1, 7, 7]"),
        ("Atto", "dims", "module.backbone.downsample_layers.0.0.weight [40, 3, 4, 4]"),
        ("depth 32", "upsamplings", "the volume is a cube: depth_dim 32"),
    ],
)
def test_each_row_names_its_proof(files: dict[str, Checkpoint], file: str, field: str, why: str) -> None:
    assert why in rows(judged(files, "L", file))[field].reason


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", ["depth 64", None], ids=["weights", "no weights"])
@pytest.mark.parametrize("upsamplings", [0, 1, 2, 3])
def test_upsamplings_may_be_said(files: dict[str, Checkpoint], file: str | None, upsamplings: int) -> None:
    verdict = judged(files, "M", file, f"upsamplings={upsamplings}")
    assert verdict.architecture == replace(declared("M"), upsamplings=upsamplings)
    row = rows(verdict)["upsamplings"]
    assert (row.declared, row.detected, row.used, row.source) == (BY_RULE, None, upsamplings, "command line")
    assert f"--set upsamplings={upsamplings}" in row.reason
    assert ("declared M would have 3" in row.reason) == (upsamplings != 3)
    assert row.agrees is (upsamplings == 3)


def test_a_declared_count_wins_over_the_rule_but_not_over_the_command_line(files: dict[str, Checkpoint]) -> None:
    config = ModelConfig(**{**load_config("M").model_dump(), "upsamplings": 2})
    row = rows(judge(config, files["depth 64"]))["upsamplings"]
    assert (row.used, row.source) == (2, "configuration")
    row = rows(judge(config, files["depth 64"], {"upsamplings": 1}))["upsamplings"]
    assert (row.used, row.source) == (1, "command line")


@pytest.mark.parametrize(
    ("settings", "joints", "depth_dim", "upsamplings"),
    [
        (["joints=36"], 36, 32, 2),
        (["joints=36", "depth_dim=32"], 36, 32, 2),
        (["joints=24", "upsamplings=1"], 24, 48, 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_product_of_joints_and_depth_dim_may_be_split(
    files: dict[str, Checkpoint], settings: list[str], joints: int, depth_dim: int, upsamplings: int
) -> None:
    verdict = judged(files, "M", "depth 64", *settings)
    used = verdict.architecture
    assert (used.joints, used.depth_dim, used.upsamplings) == (joints, depth_dim, upsamplings)
    assert used.volume_channels == 1152
    for field in ("joints", "depth_dim"):
        row = rows(verdict)[field]
        assert (row.detected, row.source) == (None, "command line")
        assert f"--set {settings[0]}" in row.reason
        assert "[1152, 256, 1, 1]" in row.reason


def test_the_input_size_may_be_said(files: dict[str, Checkpoint]) -> None:
    verdict = judged(files, "S", "depth 32", "input_size=128")
    assert rows(verdict)["input_size"].source == "command line"
    # What the head was trained to do does not change with the size of the crop that it is fed.
    assert (verdict.architecture.input_size, verdict.architecture.upsamplings) == (128, 2)
    assert verdict.architecture.heatmap_size == 16


def test_a_joint_set_of_the_user_s_own_is_used_where_it_fits(files: dict[str, Checkpoint]) -> None:
    """1152 channels are 18 × 64, or 36 × 32: weights cannot tell, and the user has said."""
    own = load_config("M").model_copy(update={"name": "own", "joints": 36, "depth_dim": 32})
    verdict = judge(own, files["depth 64"])
    assert (verdict.architecture.joints, verdict.architecture.depth_dim, verdict.architecture.upsamplings) == (
        36,
        32,
        2,
    )
    for field in ("joints", "depth_dim"):
        assert (rows(verdict)[field].source, rows(verdict)[field].detected) == ("configuration", None)


def test_a_volume_that_no_machine_holds_is_refused(files: dict[str, Checkpoint]) -> None:
    with pytest.raises(BadInput, match="too large"):
        judged(files, "S", None, "joints=4096", "depth_dim=4096", "upsamplings=3")


def test_without_weights_the_declaration_is_used_and_said_to_be_one(files: dict[str, Checkpoint]) -> None:
    verdict = judged(files, "L", None)
    assert verdict.architecture == declared("L")
    for row in verdict.rows:
        assert row.detected is None
        assert row.source == ("rule" if row.field == "upsamplings" else "configuration")
    changed = judged(files, "L", None, "depth_dim=32", "joints=21")
    assert (changed.architecture.joints, changed.architecture.depth_dim) == (21, 32)
    assert changed.architecture.upsamplings == 2
    assert rows(changed)["depth_dim"].source == "command line"


def test_joints_of_an_own_configuration(files: dict[str, Checkpoint], tmp_path: Path) -> None:
    """17 joints are no known set: nothing but the declaration can split the product."""
    seventeen = replace(FILES["Atto"], joints=17)
    checkpoint = read_checkpoint(write(tmp_path / "file", blank_weights(seventeen), "bare"))
    config = ModelConfig(**{**load_config("XS-atto").model_dump(), "joints": 17})
    row = rows(judge(config, checkpoint))["joints"]
    assert (row.used, row.source) == (17, "configuration")
    with pytest.raises(BadInput, match="does not say how many joints"):
        judge(load_config("XS-atto"), checkpoint)


# ── strict, nearest, JSON ────────────────────────────────────────────────────────────────────────────────────────────


def require_as_declared(model: str, verdict: Verdict) -> None:
    require_agreement(model, verdict.rows, verdict.nearest)


def test_strict(files: dict[str, Checkpoint]) -> None:
    require_as_declared("S", judged(files, "S", "depth 32"))
    with pytest.raises(CheckFailed) as caught:
        require_as_declared("S", judged(files, "S", "Atto"))
    assert "not the declared S" in caught.value.problem
    assert "dims: declared [48, 96, 192, 384], used [40, 80, 160, 320]" in caught.value.detail
    assert "depths: declared [3, 3, 9, 3], used [2, 2, 6, 2]" in caught.value.detail
    assert "depth_dim" not in caught.value.detail
    assert "nearest: XS-atto (identical)" in caught.value.advice
    assert caught.value.exit_code == 1


def test_the_published_alternative_is_as_declared(files: dict[str, Checkpoint]) -> None:
    verdict = judged(files, "XS", "Atto")
    require_as_declared("XS", verdict)
    assert rows(verdict)["dims"].declared == declared("XS-atto").dims
    assert used_alternative(load_config("XS"), verdict.nearest) == load_config("XS").alternative
    assert used_alternative(load_config("XS"), judged(files, "XS", "depth 32").nearest) is None
    with pytest.raises(CheckFailed, match="depth_dim: declared 32, used 64"):
        require_as_declared("XS", judged(files, "XS", "depth 64"))
    with pytest.raises(CheckFailed, match="upsamplings: used 1"):
        require_as_declared("XS", judged(files, "XS", "Atto", "upsamplings=1"))


def test_strict_counts_the_command_line_as_a_difference(files: dict[str, Checkpoint]) -> None:
    with pytest.raises(CheckFailed, match=r"upsamplings: used 2 .*declared M would have 3"):
        require_as_declared("M", judged(files, "M", "depth 64", "upsamplings=2"))


@pytest.mark.parametrize(
    ("file", "others"), [("depth 64", {2: ("XS", "S")}), ("depth 32", {}), ("head 512", {}), ("Atto", {})]
)
def test_a_count_that_nothing_declares_fails_strict(
    tmp_path: Path, file: str, others: Mapping[int, tuple[str, ...]]
) -> None:
    """A source gives S a depth of 64, too: 1152 channels are those of M, or of an S with two upsamplings."""
    path = write(tmp_path / "mine.pth", blank_weights(FILES[file]), "bare")
    inspection = inspect_checkpoint(path, None, {})
    assert inspection.other_counts == others
    notice = " ".join(count_notice(inspection.record.verdict, inspection.other_counts))
    assert ("XS and S would have 2" in notice) == bool(others)
    if others:
        with pytest.raises(CheckFailed, match="XS and S would have 2"):
            require_declared_count(inspection)
    require_declared_count(inspect_checkpoint(path, inspection.model, {}))


def test_all_nearest_models_are_told() -> None:
    between = replace(declared("L"), head_channels=(256, 256, 512))
    assert nearest_models(between) == tuple(
        NearestModel(model=model, differs_in=("head_channels",)) for model in ("M", "L")
    )


@pytest.mark.parametrize(
    ("name", "file", "model", "chosen_by"),
    [
        ("snapshot_83.pth.tar", "Atto", "L", "by its file name"),
        ("mine.pth", "Atto", "XS-atto", "the nearest by shape"),
        ("mine.pth", "head 512", "L", "the nearest by shape"),
        ("snapshot_67.pth", "Atto", "XS", "by its file name"),
        ("snapshot_68.pth", "Atto", "XS", "by its file name"),
        ("snapshot_67.pth", "depth 32", "S", "by its file name"),
        ("snapshot_68.pth", "depth 32", "XS", "by its file name"),
        ("snapshot_68.pth", "head 512", "XS", "by its file name"),
    ],
)
def test_inspect_finds_what_to_compare_with(tmp_path: Path, name: str, file: str, model: str, chosen_by: str) -> None:
    path = write(tmp_path / name, blank_weights(FILES[file]), "bare")
    inspection = inspect_checkpoint(path, None, {})
    assert (inspection.model, inspection.chosen_by) == (model, chosen_by)
    used = {row.field: row.used for row in inspection.record.verdict}
    assert (used["dims"], used["head_channels"]) == (FILES[file].dims, FILES[file].head_channels)
    assert inspection.record.architecture.heatmap_size == FILES[file].heatmap_size
    by_option = inspect_checkpoint(path, "M", {})
    assert (by_option.model, by_option.chosen_by) == ("M", "asked for")
