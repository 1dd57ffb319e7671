"""The main job from end to end, in processes of its own: a small network of the released layout."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

import cli.export
import export.deploy
import export.engine
import export.engine_runtime
import export.precision
from export.artifacts import sha256_file, sha256_path
from export.errors import BadInput, CheckFailed
from export.gpu import default_gpu
from export.manifest import read_manifest
from export.network import ConvNeXtPose
from export.steps import version
from tests.checkpoints import TINY, alive_weights, declared, fresh_weights, spelled, write
from tests.command_line import ROOT, assert_three_parts, convnextpose
from tests.engines.planted import plant
from tests.tiny_export import STEPS, assert_whole, manifest, steps_said, tiny_config


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("first")
    tiny_config(folder)
    return folder, convnextpose("export", "tiny.yaml", cwd=folder)


def test_the_first_run_makes_everything(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    place, run = first_run
    assert run.returncode == 0, run.stderr
    assert steps_said(run.stderr, "done") == STEPS
    assert_whole(place)
    made = manifest(place)
    assert made.weights.origin == "stand-in"
    assert made.counts.parameters == TINY.parameters
    assert made.architecture.heatmap_size == 32
    assert (made.artifacts[0].kind, made.artifacts[0].precision) == ("onnx", "fp32")
    assert [p["outcome"] for p in made.parity] == ["pass"]
    assert made.tools["torch"] == version("torch")
    if version("tensorrt-rtx") != "absent":
        engine = made.artifacts[1]
        assert engine.status.endswith("not run")
        assert engine.targets
        assert engine.details["tf32"] is False
        assert engine.details["chosen"].endswith("tensorrt_rtx is installed")
        assert engine.details["proof"]["network"].startswith("strongly typed network: convolutions 26 FLOAT")
        drift = engine.details["drift"]
        assert (drift["of"], drift["record"]) == (made.artifacts[0].path, "parity/fp32.json")
        assert drift["max_mm"] == made.parity[0]["candidate"]["max_mm"]
        assert (place / "build/tiny" / drift["record"]).is_file()
        assert drift["images"]["count"] == 64
        if default_gpu()[0] is None:
            assert engine.details["not_run"] == default_gpu()[1]
            assert engine.details["proof"]["inspector"].startswith("no GPU loads it here: ")
        assert made.tools["tensorrt-rtx"] == engine.details["package_version"]


def test_stand_in_weights_are_called_so_everywhere(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    place, run = first_run
    assert "weights: stand-in" in run.stderr
    for heading in ("Parity", "Latency", "build/tiny"):
        line = next(line for line in run.stdout.splitlines() if line.startswith(heading))
        assert "weights: stand-in" in line
    model = onnx.load(place / "build/tiny/onnx/tiny-fp32.onnx")
    assert {p.key: p.value for p in model.metadata_props}["weights_origin"] == "stand-in"


def test_latency_is_recorded_with_its_boundary_and_samples(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    result = json.loads((first_run[0] / "build/tiny/latency.json").read_text())
    assert (result["schema_version"], result["boundary"]) == ("1.1", "host_e2e")
    assert [(row["runtime"], row["precision"]) for row in result["rows"]] == [
        ("pytorch", "fp32"),
        ("onnxruntime", "fp32"),
    ]
    for row in result["rows"]:
        assert row["threads"] == len(os.sched_getaffinity(0))
        assert len(row["samples_ms"]) >= 1
        assert (row["latency_ms"] is None) == (result["reason"] is not None)
    assert ("not known" in first_run[1].stdout) == (result["reason"] is not None)


def test_the_second_run_does_nothing_and_loads_nothing_heavy(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, _ = first_run
    before = sha256_path(place / "build")
    stamps = {p: p.stat().st_mtime_ns for p in (place / "build").rglob("*") if p.is_file() and p.name != ".lock"}
    command = [sys.executable, "-X", "importtime", "-m", "cli.main", "export", "tiny.yaml"]
    run = subprocess.run(
        command, cwd=place, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert steps_said(run.stderr, "up to date") == STEPS
    imported = {line.split("|")[-1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert not imported & {"torch", "onnx", "onnxruntime", "scipy", "tensorrt_rtx"}
    assert sha256_path(place / "build") == before
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_why_answers_without_doing(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    place, _ = first_run
    before = sha256_path(place / "build")
    run = convnextpose("export", "tiny.yaml", "--why", "--set", "upsamplings=3", cwd=place)
    assert run.returncode == 0, run.stderr
    assert steps_said(run.stderr, "would run") == STEPS
    assert "options overrides upsamplings: null → 3" in run.stderr
    assert sha256_path(place / "build") == before


def test_only_what_depends_on_a_change_is_repeated(place: Path) -> None:
    assert convnextpose("export", "tiny.yaml", cwd=place).returncode == 0
    engine = place / "build/tiny" / manifest(place).artifacts[-1].path
    engine.unlink()
    run = convnextpose("export", "tiny.yaml", cwd=place)
    assert steps_said(run.stderr, "done") == ["engine-fp32"]
    assert f"{engine.name} is gone" in run.stderr
    assert_whole(place)

    checkpoint = write(place / "tiny.tar", spelled(alive_weights()))
    run = convnextpose("export", "tiny.yaml", "--checkpoint", checkpoint, cwd=place)
    assert run.returncode == 0, run.stderr
    # The same weights from another source: only what tells of the source is made again.
    assert steps_said(run.stderr, "done") == ["weights", "onnx-fp32", "parity-fp32", "engine-fp32", "latency"]
    assert "inputs checkpoint changed" in run.stderr
    made = manifest(place)
    assert (made.weights.origin, made.weights.container, made.weights.location) == (
        "checkpoint",
        "torch zip",
        "network",
    )
    assert made.weights.sha256 == sha256_file(checkpoint)
    assert_whole(place)

    run = convnextpose("export", "tiny.yaml", "--checkpoint", checkpoint, "--set", "upsamplings=3", cwd=place)
    assert run.returncode == 0, run.stderr
    assert manifest(place).architecture.heatmap_size == 64
    row = next(row for row in manifest(place).verdict if row.field == "upsamplings")
    assert (row.used, row.source, row.why, row.agrees) == (3, "command line", "--set upsamplings=3", False)


def test_a_checkpoint_in_weights_is_found_even_as_a_folder(place: Path) -> None:
    write(place / "weights/tiny.tar", spelled(alive_weights(), "positional"), "folder")
    run = convnextpose("export", "tiny.yaml", "--why", cwd=place)
    assert "weights/tiny.tar (found in weights/)" in run.stderr
    assert convnextpose("export", "tiny.yaml", cwd=place).returncode == 0
    assert manifest(place).weights.container == "unpacked folder"


def test_a_bad_checkpoint_leaves_earlier_results_alone(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    place, _ = first_run
    before = sha256_path(place / "build")
    (place / "bad.tar").write_text("<!DOCTYPE html><html>")
    run = convnextpose("export", "tiny.yaml", "--checkpoint", "bad.tar", cwd=place)
    assert_three_parts(run, 2)
    assert sha256_path(place / "build") == before


def test_fresh_weights_end_inconclusive(place: Path) -> None:
    """Untrained: any export would agree with them."""
    architecture = declared("XS-atto")
    write(place / "fresh.pth", spelled(fresh_weights(architecture)))
    run = convnextpose("export", "XS-atto", "--checkpoint", "fresh.pth", cwd=place)
    assert_three_parts(run, 3)
    made = read_manifest(place / "build/XS-atto/manifest.json")
    assert [p["outcome"] for p in made.parity] == ["inconclusive"]
    assert [a.kind for a in made.artifacts] == ["onnx"]


def test_without_a_builder_the_rest_succeeds_and_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(export.engine_runtime, "find_spec", lambda name: None)
    cli.export.command("tiny.yaml")
    made = manifest(place)
    assert [a.kind for a in made.artifacts] == ["onnx"]
    assert [(n.kind, n.precision) for n in made.not_run] == [("engine", "fp32")]
    assert "not installed" in made.not_run[0].reason


def test_a_builder_that_dies_becomes_a_failed_row(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(export.engine, "WORKER", (sys.executable, "-c", "import os; os.abort()"))
    with pytest.raises(CheckFailed, match="engine could not be built"):
        cli.export.command("tiny.yaml")
    made = manifest(place)
    assert [(a.kind, a.status) for a in made.artifacts] == [("onnx", "parity pass")]
    assert [(n.kind, n.status) for n in made.not_run] == [("engine", "failed")]
    assert "SIGABRT" in made.not_run[0].reason
    assert (place / "build/tiny/latency.json").is_file()
    monkeypatch.undo()
    run = convnextpose("export", "tiny.yaml", cwd=place)
    assert run.returncode == 0, run.stderr
    assert steps_said(run.stderr, "done") == ["engine-fp32"]


def test_an_engine_that_cannot_be_built_keeps_no_other_from_being_made(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little workspace is the user's mistake, and the rest goes on all the same."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.chdir(place)
    with pytest.raises(BadInput, match="the fp16 engine could not be built"):
        cli.export.command("tiny.yaml", precision="fp16,bf16", workspace_mib=1, engine_runtime="tensorrt-rtx")
    made = manifest(place)
    assert [(a.kind, a.precision) for a in made.artifacts] == [("onnx", "fp16"), ("onnx", "bf16")]
    assert [(n.kind, n.precision, n.status) for n in made.not_run] == [
        ("engine", "fp16", "failed"),
        ("engine", "bf16", "failed"),
    ]
    assert all("1048576 bytes of workspace are too few" in missing.reason for missing in made.not_run)
    assert (place / "build/tiny/recipe.md").is_file()


def test_an_engine_of_fewer_int8_convolutions_than_planned_is_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.chdir(place)
    code = """
        inner = w.count_convolutions
        def count(layers):
            found = inner(layers)
            return w.Convolutions(found.total, found.int8 - 1)
        w.count_convolutions = count
    """
    monkeypatch.setattr(export.engine, "WORKER", plant(code))
    with pytest.raises(CheckFailed, match="the int8 engine could not be built"):
        cli.export.command("tiny.yaml", precision="int8", engine_runtime="tensorrt-rtx")
    [missing] = manifest(place).not_run
    assert re.search(r"(\d+) of 26 convolutions in int8, planned: \d+", missing.reason)
    assert not (place / "build/tiny/engines/tiny-int8.rtx.engine").exists()


def test_nothing_made_from_other_weights_stays(place: Path) -> None:
    assert convnextpose("export", "tiny.yaml", cwd=place).returncode == 0
    write(place / "fresh.pth", spelled(fresh_weights(TINY)))
    assert convnextpose("export", "tiny.yaml", "--checkpoint", "fresh.pth", cwd=place).returncode == 3
    made = {path.relative_to(place / "build/tiny").as_posix() for path in (place / "build/tiny").rglob("*.*")}
    assert {name for name in made if not name.startswith(".")} == {
        "manifest.json",
        "onnx/tiny-fp32.onnx",
        "parity/fp32.json",
        "parity/image-statistics.json",
        "parity/truth.npz",
        "weights/weights.safetensors",
    }


def test_the_verdict_comes_first_with_the_claims_that_a_file_refutes(place: Path) -> None:
    write(place / "xs.tar", spelled(alive_weights(declared("XS-atto"))))
    run = convnextpose("inspect", "xs.tar", "--model", "XS", cwd=place)
    assert run.returncode == 0, run.stderr
    contradicted = [line for line in run.stdout.splitlines() if "contradicted" in line]
    assert any("note's text" in line and "backbone Femto-L" in line for line in contradicted)
    assert not any("repository" in line for line in contradicted)


def test_parity_is_kept_for_every_batch_size(first_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    result = json.loads((first_run[0] / "build/tiny/parity/fp32.json").read_text())
    [run] = result["runs"]
    assert list(run["batches"]) == ["1", "5"]
    assert all(batch["outcome"] == "pass" for batch in run["batches"].values())


def test_an_engine_s_plan_can_be_chosen(place: Path) -> None:
    arguments = ("export", "tiny.yaml", "--batches", "1,2,4", "--targets", "8.6", "--workspace-mib", "512")
    assert convnextpose(*arguments, cwd=place).returncode == 0
    details = manifest(place).artifacts[-1].details
    assert (details["targets"], details["workspace_bytes"]) == (["8.6"], 512 << 20)
    assert [details["profile"][bound][0] for bound in ("min", "opt", "max")] == [1, 2, 4]
    for wrong in (("--batches", "1,2"), ("--batches", "4,2,8"), ("--targets", "9.0"), ("--workspace-mib", "0")):
        assert_three_parts(convnextpose("export", "tiny.yaml", *wrong, cwd=place), 2)


def test_the_demo_checkpoint_serves_where_there_is_no_other_and_is_called_so(place: Path) -> None:
    run = convnextpose("export", "XS-atto", cwd=place)
    assert run.returncode == 0, run.stderr
    assert "weights: demo" in run.stderr
    assert "weights: demo" in next(line for line in run.stdout.splitlines() if line.startswith("Parity"))
    made = read_manifest(place / "build/XS-atto/manifest.json")
    assert (made.weights.origin, made.weights.path) == ("demo", "demo/XS-atto-demo.pth")
    assert made.weights.dtypes == ["float16"]
    assert not [row.field for row in made.verdict if not row.agrees]
    assert [p["outcome"] for p in made.parity] == ["pass"]
    assert_three_parts(convnextpose("export", "XS-atto", "--strict", cwd=place), 2)


def test_what_cannot_be_judged_or_written_is_refused_at_once(place: Path) -> None:
    assert_three_parts(convnextpose("export", "tiny.yaml", "--strict", cwd=place), 2)
    (place / "weights").mkdir()
    (place / "weights/tiny.tar").symlink_to("nowhere")
    assert_three_parts(convnextpose("export", "tiny.yaml", cwd=place), 2)
    for name in ("checkpoint", "out"):
        run = convnextpose("export", "tiny.yaml", f"--{name}", os.fsdecode(b"bad\xff"), cwd=place)
        assert_three_parts(run, 2)
        assert "UTF-8" in run.stderr
    assert {path.name for path in (place / "build").rglob("*") if path.is_file()} == {".lock"}
    (place / "build/tiny/weights").write_text("in the way")
    (place / "weights/tiny.tar").unlink()
    assert_three_parts(convnextpose("export", "tiny.yaml", cwd=place), 2)


def test_a_key_of_the_file_is_not_taken_for_markup(place: Path) -> None:
    torch.save({"[/boom]": alive_weights()}, place / "markup.pth")
    run = convnextpose("inspect", "markup.pth", cwd=place)
    assert run.returncode == 0, run.stderr
    assert "[/boom]" in run.stdout


def test_a_contradiction_is_told_in_full_as_json(place: Path) -> None:
    weights = {name: t * float("nan") if t.is_floating_point() else t for name, t in alive_weights().items()}
    torch.save(weights, place / "nan.pth")
    run = convnextpose("inspect", "nan.pth", "--json", cwd=place)
    assert_three_parts(run, 2)
    told = json.loads(run.stdout)
    assert len(told["problems"]) == sum(t.is_floating_point() for t in weights.values())


def test_a_wrong_rewriting_fails_the_export(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(reference: ConvNeXtPose) -> ConvNeXtPose:
        network = sound(reference)
        network.head.logit_upsample = nn.Identity()
        with torch.no_grad():
            network.head.final_layer.weight.mul_(1.01)
        return network

    sound = export.deploy.deploy
    monkeypatch.chdir(place)
    monkeypatch.setattr(export.precision, "deploy", wrong)
    with pytest.raises(CheckFailed, match="farther from the truth"):
        cli.export.command("tiny.yaml")
    made = manifest(place)
    assert made.parity[0]["outcome"] == "fail"
    assert [(a.kind, a.status) for a in made.artifacts] == [("onnx", "parity fail")]
    assert not (place / "build/tiny/engines").exists()


def test_help_answers_without_loading_anything_heavy(tmp_path: Path) -> None:
    for verb in ([], ["export"], ["inspect"], ["claims"], ["bench"]):
        command = [sys.executable, "-X", "importtime", "-m", "cli.main", *verb, "--help"]
        run = subprocess.run(
            command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=True
        )
        imported = {line.split("|")[-1].strip() for line in run.stderr.splitlines()}
        assert not imported & {"torch", "numpy", "onnx", "onnxruntime", "yaml", "scipy"}
        assert "Usage" in run.stdout
