"""``inspect DIR`` and ``export --weights DIR``: four released files, some zipped, some unpacked, one named wrongly."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from rich.cells import cell_len

from cli import console
from cli.render.screen import LINES
from export.checkpoint import folder_search
from export.checkpoint.folder_inspection import FolderInspection
from export.pipeline.manifest import read_manifest
from tests.support.checkpoints import alive_weights, spelled, write
from tests.support.command_line import ROOT, assert_three_parts, in_process
from tests.support.grid import halved

MODELS = ("XS", "S", "M", "L")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as on Kaggle: XS and L are unpacked, M is called L (1), S is a file under the number of XS."""
    place = tmp_path_factory.mktemp("downloads")
    folder = place / "input"
    for name, model in {"models/ConvNeXtPose_XS": "XS-atto", "models/ConvNeXtPose_L": "L"}.items():
        packed = write(place / "packed", spelled(halved(model)), "bare")
        shutil.unpack_archive(packed, folder / name, "zip")
        packed.unlink()
    write(folder / "snapshot_67.pth.tar", spelled(halved("S"), "positional"), "bare")
    write(folder / "ConvNeXtPose_L (1).tar", spelled(halved("M")), "bare")
    (folder / "notes.txt").write_text("notes")
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.writestr("a.png", b"no checkpoint")
    (folder / "ConvNeXtPose_M.tar").write_text("<!DOCTYPE html><html>")
    (folder / "models/loop").symlink_to("..")
    return folder


def test_every_file_is_a_row(downloads: Path) -> None:
    run = in_process("inspect", downloads, "--json", cwd=downloads.parent)
    assert (run.returncode, run.stderr) == (0, "")
    inspection = FolderInspection.model_validate_json(run.stdout)
    assert (inspection.schema_version, inspection.complete) == ("1.0", True)
    rows = {Path(file.path).relative_to(downloads).parts[:2]: file for file in inspection.files}
    assert len(rows) == len(inspection.files) == 7
    xs, large = rows["models", "ConvNeXtPose_XS"], rows["models", "ConvNeXtPose_L"]
    assert (xs.container, xs.equals, xs.name_agrees, xs.compared_with) == (
        *("unpacked folder", ("XS-atto",)),
        *(True, "XS"),
    )
    assert {(claim.source, claim.field) for claim in xs.contradicted_claims} >= {("note's table", "parameters")}
    assert (large.equals, large.name_agrees, large.contradicted_claims) == (("L",), True, ())
    small, medium = rows["snapshot_67.pth.tar",], rows["ConvNeXtPose_L (1).tar",]
    assert (small.container, small.equals, small.name_agrees) == ("torch zip", ("XS", "S"), True)
    assert small.compared_with == "S"  # as the public copy has it
    assert {claim.source for claim in small.contradicted_claims} == {"note's text"}
    assert (medium.equals, medium.name_agrees, medium.models_by_name) == (("M",), False, ("L",))
    assert (medium.compared_with, medium.contradicted_claims) == ("M", ())
    assert medium.counts is not None
    assert medium.counts.state_elements == 7_596_986
    page, notes = rows["ConvNeXtPose_M.tar",], rows["notes.txt",]
    assert "a web page" in (page.reason or "")
    assert "is not a checkpoint" in (notes.reason or "")
    photos = rows["photos.zip",]
    assert [file.claims_to_be_checkpoint for file in (page, notes, photos)] == [True, False, False]
    assert inspection.files[-3:] == (page, notes, photos)


def test_the_screen_has_25_lines_of_80_columns(downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LOG_COLUMNS", None)
    monkeypatch.setattr(console.out, "_width", 80)
    run = in_process("inspect", "input", cwd=downloads.parent)
    lines = run.stdout.splitlines()
    assert len(lines) <= LINES, run.stdout
    before_commands = lines[: lines.index("next:")]
    assert max(cell_len(line.rstrip()) for line in before_commands) <= 80, run.stdout
    text = " ".join(run.stdout.split())
    assert "4 checkpoints, 1 not usable" in text
    assert "ConvNeXtPose_L (1).tar torch zip M says L" in text
    assert "a web page" in text
    assert "contradicts claims about XS: note's text: backbone" in text
    assert "other files: notes.txt, photos.zip" in text
    assert "export XS,S,M,L --weights input" in text


def test_strict_names_what_is_wrong(downloads: Path, tmp_path: Path) -> None:
    run = in_process("inspect", downloads, "--strict", cwd=tmp_path)
    assert_three_parts(run, 1)
    assert "ConvNeXtPose_L (1).tar is M" in run.stderr
    assert "web page" in run.stderr
    assert "notes.txt" not in run.stderr
    sound = in_process("inspect", downloads / "models", "--strict", "--json", cwd=tmp_path)
    assert_three_parts(sound, 1)  # the link leads to all of them
    write(tmp_path / "good/snapshot_83.pth", halved("L"), "bare")
    assert in_process("inspect", "good", "--strict", cwd=tmp_path).returncode == 0
    write(tmp_path / "good/tiny.pth", alive_weights(), "bare")
    unknown = in_process("inspect", "good", "--strict", cwd=tmp_path)
    assert_three_parts(unknown, 1)
    assert "tiny.pth equals no declared model" in unknown.stderr


def test_a_folder_without_a_checkpoint_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.tar").write_text("<html>")
    run = in_process("inspect", "bad", "--json", cwd=tmp_path)
    assert_three_parts(run, 2)
    assert json.loads(run.stdout)["files"][0]["claims_to_be_checkpoint"] is True


def test_names_and_keys_that_are_no_text_or_markup_are_rows(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    for name in (os.fsdecode(b"bad\xff.pth"), "[boom].pth"):
        write(tmp_path / "odd" / name, halved("S"), "bare")
    torch.save({"\ud800[/boom]": 1}, tmp_path / "odd/key.pth")
    for name in (os.fsdecode(b"notes\xff"), "[b]notes"):
        (tmp_path / "odd" / name).write_text("notes")
    run = in_process("inspect", "odd", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    rows = {Path(file["path"]).name: file for file in json.loads(run.stdout)["files"]}
    assert rows.keys() == {r"bad\xff.pth", "[boom].pth", "key.pth", "[b]notes", r"notes\xff"}
    assert r"\ud800[/boom]" in rows["key.pth"]["reason"]
    run = in_process("inspect", "odd", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "[boom].pth" in run.stdout
    assert "other files: [b]notes" in run.stdout
    (tmp_path / "odd/[boom].pth").unlink()
    run = in_process("export", "S", "--weights", "odd", "--why", cwd=tmp_path)
    assert_three_parts(run, 2)
    assert "UTF-8" in run.stderr


def test_a_search_that_ends_at_its_limit_says_so(downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_search, "MAX_ENTRIES", 7)
    run = in_process("inspect", "input", cwd=downloads.parent)
    assert run.returncode == 0, run.stderr
    assert "looked at the first 7 entries of input only" in " ".join(run.stdout.split())
    assert json.loads(in_process("inspect", "input", "--json", cwd=downloads.parent).stdout)["complete"] is False
    run = in_process("export", "S", "--weights", "input", "--why", cwd=downloads.parent)
    assert "looked at the first 7 entries of input only" in run.stderr


def test_the_published_xs_is_exported_as_xs(demo_export: Path, tmp_path: Path) -> None:
    """The demo checkpoint has the architecture of the published XS; the ground truth of its weights is taken over."""
    shutil.copytree(demo_export, tmp_path / "build/XS")
    (tmp_path / "weights").mkdir()
    shutil.copyfile(ROOT / "demo/XS-atto-demo.pth", tmp_path / "weights/snapshot_68.pth")
    run = in_process("export", "XS", "--strict", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "architecture: that of XS-atto, the published XS (source: public copy)" in run.stdout
    assert "not as declared" not in run.stdout
    assert "notice" not in run.stdout + run.stderr
    made = read_manifest(tmp_path / "build/XS/manifest.json")
    assert (made.model, made.weights.path, made.architecture.depths) == ("XS", "weights/snapshot_68.pth", (2, 2, 6, 2))
    shown = in_process("inspect", "weights/snapshot_68.pth", "--strict", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "architecture: that of XS-atto, the published XS" in shown.stdout


@pytest.mark.parametrize("option", [("--model", "L"), ("--weights-key", "ema"), ("--set", "upsamplings=2")])
def test_options_of_one_checkpoint_are_refused(downloads: Path, option: tuple[str, str]) -> None:
    run = in_process("inspect", "input", *option, cwd=downloads.parent)
    assert_three_parts(run, 2)
    assert f"{option[0]} is for one checkpoint" in run.stderr


def test_each_model_is_exported_from_the_file_that_fits(downloads: Path) -> None:
    run = in_process("export", ",".join(MODELS), "--weights", "input", "--why", cwd=downloads.parent)
    assert run.returncode == 0, run.stderr
    taken = [line for line in run.stderr.splitlines() if line.startswith("weights: ")]
    assert [line.split(" (found in input/")[0] for line in taken] == [
        "weights: input/models/ConvNeXtPose_XS",
        "weights: input/snapshot_67.pth.tar",
        "weights: input/ConvNeXtPose_L (1).tar",
        "weights: input/models/ConvNeXtPose_L",
    ]
    assert "its content fits M" in taken[2]
    assert "would run   XS" not in run.stderr


def test_a_model_that_fails_does_not_stop_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/ConvNeXtPose_M.tar").symlink_to("nowhere")
    run = in_process("export", "M,S", "--why", cwd=tmp_path, latency=True)
    assert_three_parts(run, 2)
    assert "cannot read weights/ConvNeXtPose_M.tar" in run.stderr
    steps = run.stderr[run.stderr.index("weights: demo") :]
    assert "would run   weights" in steps


def test_weights_may_be_a_link_to_the_folder(downloads: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to(downloads)
    run = in_process("export", "L", "--why", cwd=tmp_path)
    assert "weights: weights/models/ConvNeXtPose_L (found in weights/)" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("XS,S", "--checkpoint", "a.pth"), "--checkpoint is for one model"),
        (("S", "--checkpoint", "a.pth", "--weights", "input"), "--checkpoint and --weights"),
        (("S", "--weights", "nowhere"), "cannot search nowhere"),
        (("S,unknown", "--weights", "input"), "unknown model"),
        (("S,XS", "--weights", "input/models/ConvNeXtPose_L"), "fits S"),
    ],
)
def test_wrong_calls_end_before_any_work(downloads: Path, arguments: tuple[str, ...], problem: str) -> None:
    run = in_process("export", *arguments, "--out", "out", cwd=downloads.parent)
    assert_three_parts(run, 2)
    assert problem in run.stderr
    assert not (downloads.parent / "out").exists()
