"""``convnextpose export`` and ``inspect`` from end to end, on a small network of the released layout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

import export.engine.build
import export.engine.choice
import export.graph.deploy
import export.graph.precision
from bench.harness.latency_table import table_of
from export.common.files import sha256_file, sha256_path
from export.model.network import ConvNeXtPose
from export.pipeline.steps import version
from export.runtime.gpu import default_gpu
from tests.support.bench_results import CANDIDATE, REFERENCE, STEADY, measurements
from tests.support.checkpoints import TINY, alive_weights, fresh_weights, spelled, write
from tests.support.command_line import FEW_IMAGES, ROOT, assert_three_parts, in_process
from tests.support.tiny_export import STEPS, Run, assert_whole, manifest, steps_said


def test_the_first_run_makes_everything(tiny_run: Run) -> None:
    place, run = tiny_run
    assert run.returncode == 0, run.stderr
    assert steps_said(run.stderr, "done") == STEPS
    assert_whole(place)
    made = manifest(place)
    assert made.weights.origin == "stand-in"
    assert made.counts.parameters == TINY.parameters
    assert made.architecture.heatmap_size == 32
    assert (made.artifacts[0].kind, made.artifacts[0].precision) == ("onnx", "fp32")
    assert [p.outcome for p in made.parity] == ["pass"]
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
        assert drift["max_mm"] == made.parity[0].candidate.max_mm
        assert (place / "build/tiny" / drift["record"]).is_file()
        assert drift["images"]["count"] == FEW_IMAGES
        if default_gpu()[0] is None:
            assert engine.details["not_run"] == default_gpu()[1]
            assert engine.details["proof"]["inspector"].startswith("no GPU loads it here: ")
        assert made.tools["tensorrt-rtx"] == engine.details["package_version"]


def test_stand_in_weights_are_called_so_everywhere(tiny_run: Run) -> None:
    place, run = tiny_run
    assert "weights: stand-in" in run.stderr
    decision = next(line for line in run.stdout.splitlines() if line.startswith("tiny:"))
    assert "weights: stand-in" in decision
    assert "may ship: nothing, these are stand-in weights" in run.stdout
    model = onnx.load(place / "build/tiny/onnx/tiny-fp32.onnx")
    assert {p.key: p.value for p in model.metadata_props}["weights_origin"] == "stand-in"


def test_latency_is_recorded_with_its_boundary_and_samples(tiny_run: Run) -> None:
    result = json.loads((tiny_run[0] / "build/tiny/latency.json").read_text())
    assert (result["schema_version"], result["boundary"]) == ("1.1", "host_e2e")
    assert [(row["runtime"], row["precision"]) for row in result["rows"]] == [
        ("pytorch", "fp32"),
        ("onnxruntime", "fp32"),
    ]
    for row in result["rows"]:
        assert row["threads"] == len(os.sched_getaffinity(0))
        assert len(row["samples_ms"]) >= 1
        assert (row["latency_ms"] is None) == (result["reason"] is not None)
    assert ("not known" in tiny_run[1].stdout) == (result["reason"] is not None)


def traced(arguments: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that tells what it imports."""
    command = [sys.executable, "-X", "importtime", "-m", "cli.main", *arguments]
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=True)


def imported_by(run: subprocess.CompletedProcess[str]) -> set[str]:
    return {line.split("|")[-1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}


def test_the_second_run_does_nothing_and_loads_nothing_heavy(tiny_run: Run) -> None:
    place, _ = tiny_run
    known = json.loads((place / "build/tiny/latency.json").read_text())["reason"] is None
    left_out = {".lock"} if known else {".lock", "latency.json"}  # a busy machine's table is measured again
    files = [p for p in (place / "build").rglob("*") if p.is_file() and p.name not in left_out]
    before = {p: (p.stat().st_mtime_ns, sha256_path(p)) for p in files}
    run = traced(["export", "tiny.yaml"], place)
    assert steps_said(run.stderr, "up to date") == (STEPS if known else STEPS[:-1])
    assert not known or not imported_by(run) & {"torch", "onnx", "onnxruntime", "scipy", "tensorrt_rtx"}
    assert {p: (p.stat().st_mtime_ns, sha256_path(p)) for p in before} == before


def test_why_answers_without_doing(tiny_run: Run) -> None:
    place, _ = tiny_run
    before = sha256_path(place / "build")
    run = in_process("export", "tiny.yaml", "--why", "--set", "upsamplings=3", cwd=place, latency=True)
    assert run.returncode == 0, run.stderr
    assert steps_said(run.stderr, "would run") == STEPS
    assert "--set upsamplings changed: (none) → 3" in run.stderr
    assert sha256_path(place / "build") == before


def test_only_what_depends_on_a_change_is_repeated(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_copy / "build/tiny" / manifest(tiny_copy).artifacts[-1].path
    engine.unlink()
    run = in_process("export", "tiny.yaml", cwd=tiny_copy)
    assert steps_said(run.stderr, "done") == ["engine-fp32"]
    assert f"{engine.name} is missing" in run.stderr
    assert_whole(tiny_copy)

    checkpoint = write(tiny_copy / "tiny.tar", spelled(alive_weights()))
    planted = table_of(measurements(STEADY), REFERENCE, CANDIDATE)
    monkeypatch.setattr("bench.harness.latency_table.measure", lambda *_: planted)
    run = in_process("export", "tiny.yaml", "--checkpoint", checkpoint, cwd=tiny_copy, latency=True)
    assert run.returncode == 0, run.stderr
    # The same weights from another source: only what tells of the source is made again.
    assert steps_said(run.stderr, "done") == ["weights", "onnx-fp32", "parity-fp32", "engine-fp32", "latency"]
    assert "the checkpoint changed" in run.stderr
    weights = manifest(tiny_copy).weights
    assert (weights.origin, weights.container, weights.location) == ("checkpoint", "torch zip", "network")
    assert weights.sha256 == sha256_file(checkpoint)
    assert_whole(tiny_copy)


def test_a_checkpoint_in_weights_is_found_even_as_a_folder(place: Path) -> None:
    write(place / "weights/tiny.tar", spelled(alive_weights(), "positional"), "folder")
    run = in_process("export", "tiny.yaml", "--why", cwd=place)
    assert "weights/tiny.tar (found in weights/)" in run.stderr


def test_a_bad_checkpoint_leaves_earlier_results_alone(tiny_copy: Path) -> None:
    before = sha256_path(tiny_copy / "build")
    (tiny_copy / "bad.tar").write_text("<!DOCTYPE html><html>")
    assert_three_parts(in_process("export", "tiny.yaml", "--checkpoint", "bad.tar", cwd=tiny_copy), 2)
    assert sha256_path(tiny_copy / "build") == before


def test_without_a_builder_the_rest_succeeds_and_says_so(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.engine.choice, "find_spec", lambda name: None)
    assert in_process("export", "tiny.yaml", cwd=tiny_copy).returncode == 0
    made = manifest(tiny_copy)
    assert [a.kind for a in made.artifacts] == ["onnx"]
    assert [(n.kind, n.precision) for n in made.not_run] == [("engine", "fp32")]
    assert "not installed" in made.not_run[0].reason


@pytest.mark.parametrize(
    ("worker", "options", "exit_code", "reason"),
    [
        ((sys.executable, "-c", "import os; os.abort()"), (), 1, "SIGABRT"),
        (export.engine.build.WORKER, ("--workspace-mib", 1, "--engine-runtime", "tensorrt-rtx"), 2, "1048576 bytes"),
    ],
    ids=["the builder dies", "too little workspace"],
)
def test_an_engine_that_cannot_be_built_is_a_failed_row_and_the_rest_is_made(
    tiny_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    worker: tuple[str, ...],
    options: tuple[object, ...],
    exit_code: int,
    reason: str,
) -> None:
    pytest.importorskip("tensorrt_rtx")
    folder = tiny_copy / "build/tiny"
    for name in (manifest(tiny_copy).artifacts[-1].path, "recipe.md"):
        (folder / name).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(export.engine.build, "WORKER", worker)
        assert_three_parts(in_process("export", "tiny.yaml", *options, cwd=tiny_copy), exit_code)
    made = manifest(tiny_copy)
    assert [(a.kind, a.status) for a in made.artifacts] == [("onnx", "parity pass")]
    assert [(n.kind, n.status) for n in made.not_run] == [("engine", "failed")]
    assert reason in made.not_run[0].reason
    assert (folder / "recipe.md").is_file()
    run = in_process("export", "tiny.yaml", cwd=tiny_copy)
    assert run.returncode == 0, run.stderr
    assert steps_said(run.stderr, "done") == ["engine-fp32"]


def test_fresh_weights_end_inconclusive_and_nothing_made_from_other_weights_stays(tiny_copy: Path) -> None:
    """Untrained: any export would agree with them."""
    folder = tiny_copy / "build/tiny"
    write(tiny_copy / "fresh.pth", spelled(fresh_weights(TINY)))
    assert_three_parts(in_process("export", "tiny.yaml", "--checkpoint", "fresh.pth", cwd=tiny_copy), 3)
    made = manifest(tiny_copy)
    assert [p.outcome for p in made.parity] == ["inconclusive"]
    assert [a.kind for a in made.artifacts] == ["onnx"]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert {name for name in there if not name.startswith(".")} == {
        *("manifest.json", "onnx/tiny-fp32.onnx", "weights/weights.safetensors"),
        *("parity/fp32.json", "parity/image-statistics.json", "parity/truth.npz"),
    }


def test_parity_is_kept_for_every_batch_size(tiny_run: Run) -> None:
    result = json.loads((tiny_run[0] / "build/tiny/parity/fp32.json").read_text())
    [run] = result["runs"]
    assert list(run["batches"]) == ["1", "5"]
    assert all(batch["outcome"] == "pass" for batch in run["batches"].values())


def test_an_engine_s_plan_can_be_chosen(tiny_copy: Path) -> None:
    options = ("--batches", "1,2,4", "--targets", "8.6", "--workspace-mib", "512")
    assert in_process("export", "tiny.yaml", *options, cwd=tiny_copy).returncode == 0
    details = manifest(tiny_copy).artifacts[-1].details
    assert (details["targets"], details["workspace_bytes"]) == (["8.6"], 512 << 20)
    assert [details["profile"][bound][0] for bound in ("min", "opt", "max")] == [1, 2, 4]
    for wrong in (("--batches", "4,2,8"), ("--targets", "9.0")):
        assert_three_parts(in_process("export", "tiny.yaml", *wrong, cwd=tiny_copy), 2)


def test_what_cannot_be_judged_or_written_is_refused_at_once(place: Path) -> None:
    assert_three_parts(in_process("export", "tiny.yaml", "--strict", cwd=place), 2)
    (place / "weights").mkdir()
    (place / "weights/tiny.tar").symlink_to("nowhere")
    assert_three_parts(in_process("export", "tiny.yaml", cwd=place), 2)
    for name in ("checkpoint", "out"):
        run = in_process("export", "tiny.yaml", f"--{name}", os.fsdecode(b"bad\xff"), cwd=place)
        assert_three_parts(run, 2)
        assert "UTF-8" in run.stderr
    assert {path.name for path in (place / "build").rglob("*") if path.is_file()} == {".lock"}
    (place / "build/tiny/weights").write_text("in the way")
    (place / "weights/tiny.tar").unlink()
    assert_three_parts(in_process("export", "tiny.yaml", cwd=place), 2)


def test_a_key_of_the_file_is_not_taken_for_markup(place: Path) -> None:
    torch.save({"[/boom]": alive_weights()}, place / "markup.pth")
    run = in_process("inspect", "markup.pth", cwd=place)
    assert run.returncode == 0, run.stderr
    assert "[/boom]" in run.stdout


def test_a_contradiction_is_told_in_full_as_json(place: Path) -> None:
    weights = {name: t * float("nan") if t.is_floating_point() else t for name, t in alive_weights().items()}
    torch.save(weights, place / "nan.pth")
    run = in_process("inspect", "nan.pth", "--json", cwd=place)
    assert_three_parts(run, 2)
    told = json.loads(run.stdout)
    assert len(told["problems"]) == sum(t.is_floating_point() for t in weights.values())


def test_a_wrong_rewriting_fails_the_export(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(reference: ConvNeXtPose) -> ConvNeXtPose:
        network = sound(reference)
        with torch.no_grad():
            network.head.final_layer.weight.mul_(1.01)
        return network

    sound = export.graph.deploy.deploy
    (tiny_copy / "build/tiny/onnx/tiny-fp32.onnx").unlink()
    monkeypatch.setattr(export.graph.precision, "deploy", wrong)
    run = in_process("export", "tiny.yaml", cwd=tiny_copy)
    assert_three_parts(run, 1)
    assert "truth" in run.stderr
    made = manifest(tiny_copy)
    assert made.parity[0].outcome == "fail"
    assert [(a.kind, a.status) for a in made.artifacts] == [("onnx", "parity fail")]
    assert not list((tiny_copy / "build/tiny").rglob("*.engine"))


def test_help_answers_without_loading_anything_heavy(tmp_path: Path) -> None:
    for verb in ([], ["export"], ["inspect"], ["claims"], ["bench"]):
        run = traced([*verb, "--help"], tmp_path)
        assert not imported_by(run) & {"torch", "numpy", "onnx", "onnxruntime", "yaml", "scipy"}
        assert "Usage" in run.stdout
