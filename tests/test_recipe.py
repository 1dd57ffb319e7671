"""The recipe is a pure function of the manifest: what it says is what an engine on the device would be."""

import json
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from export.engine_plan import EnginePlan
from export.errors import BadInput
from export.manifest import Artifact, Manifest, read_manifest
from export.recipe import Recipe, as_json, as_markdown, recipe_of, write_recipe
from export.steps import WHOLE
from tests.command_line import ROOT


def artifact(precision: str, batch: int | str = "batch", kind: str = "onnx", status: str = "parity pass") -> Artifact:
    return Artifact.model_validate(
        {
            "kind": kind,
            "runtime": kind,
            "precision": precision,
            "path": f"onnx/L-{precision}.onnx",
            "sha256": precision.rjust(64, "0"),
            "size_bytes": 1,
            "inputs": [{"name": "image", "dtype": "float32", "shape": [batch, 3, 256, 256]}],
            "outputs": [{"name": "joints", "dtype": "float32", "shape": [batch, 18, 3]}],
            "status": status,
            "details": {},
        }
    )


def manifest(*artifacts: Artifact) -> Manifest:
    nothing: dict[str, Any] = {"verdict": [], "nearest_models": [], "claims": [], "not_run": [], "parity": []}
    return Manifest.model_validate(
        {
            "model": "L",
            "weights": {"origin": "stand-in", "path": None, "sha256": "0" * 64, "container": None},
            "architecture": dict.fromkeys(("joints", "depth_dim", "upsamplings", "input_size", "heatmap_size"), 1)
            | {name: [] for name in ("depths", "dims", "head_channels", "head_kernels")},
            "counts": {"parameters": 1, "state_elements": 1, "macs": 1},
            "artifacts": [one.model_dump() for one in artifacts],
            "tools": {},
            **nothing,
        }
    )


PLAN = EnginePlan(batch_opt=4, workspace_bytes=512 << 20)


def recipe(*precisions: str, plan: EnginePlan = PLAN) -> Recipe:
    return recipe_of(manifest(*(artifact(precision) for precision in precisions)), plan)


def test_the_build_with_trtexec() -> None:
    [model] = recipe("fp16").models
    assert model.trtexec["10"] == (
        "trtexec",
        "--onnx=onnx/L-fp16.onnx",
        "--stronglyTyped",
        "--noTF32",
        "--minShapes=image:1x3x256x256",
        "--optShapes=image:4x3x256x256",
        "--maxShapes=image:8x3x256x256",
        "--memPoolSize=workspace:512",
        "--builderOptimizationLevel=3",
        "--timingCacheFile=engines/L-fp16.timing.cache",
        "--saveEngine=engines/L-fp16.trtexec.engine",
        "--skipInference",
    )
    assert [switch for switch in model.trtexec["10"] if switch not in model.trtexec["11"]] == ["--stronglyTyped"]
    assert [switch for switch in model.trtexec["11"] if switch not in model.trtexec["10"]] == []


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_no_switch_speaks_of_a_precision(precision: str) -> None:
    text = as_markdown(recipe(precision)).replace("(no `--fp16`, no `--best`)", "")
    assert not any(switch in text for switch in ("--fp16", "--bf16", "--int8", "--best", "--calib", "--precision"))


def test_tf32_stays_where_it_was_asked_for() -> None:
    [model] = recipe("fp32", plan=replace(PLAN, tf32=True)).models
    assert "--noTF32" not in model.trtexec["10"] + model.trtexec["11"]
    assert model.tf32 is True


def test_compatible_engines_are_asked_for_by_trtexec_and_by_us() -> None:
    plan = replace(PLAN, hardware_compatible=True, version_compatible=True)
    [model] = recipe("fp32", plan=plan).models
    for switch in ("--hardwareCompatibilityLevel=ampere+", "--versionCompatible"):
        assert all(switch in command for command in model.trtexec.values())
        assert all(switch not in command for command in recipe("fp32").models[0].trtexec.values())
    assert "hardware_compatible=True, version_compatible=True" in model.python[2]


def test_both_majors_time_the_same_thing() -> None:
    """What is on by default differs, so the switches must differ; here is what each run comes to."""
    defaults = {
        "10": {"transfers": True, "spin": False, "graph": False},
        "11": {"transfers": False, "spin": True, "graph": True},
    }
    effects = {
        "--noDataTransfers": ("transfers", False),
        "--includeDataTransfers": ("transfers", True),
        "--useSpinWait": ("spin", True),
        "--noSpinWait": ("spin", False),
        "--useCudaGraph": ("graph", True),
        "--noCudaGraph": ("graph", False),
    }
    [model] = recipe("fp16").models
    assert [(timing.batch, timing.boundary) for timing in model.timings] == [
        (batch, boundary) for batch in (1, 4, 8) for boundary in ("gpu", "host")
    ]
    for timing in model.timings:
        for major, command in timing.trtexec.items():
            settings = dict(defaults[major])
            settings.update(effects[switch] for switch in command if switch in effects)
            assert settings == {"transfers": timing.boundary == "host", "spin": True, "graph": True}
            assert f"--shapes=image:{timing.batch}x3x256x256" in command
            assert f"--loadEngine={model.trtexec_engine}" in command
    times = [switch for timing in model.timings for switch in timing.trtexec["10"] if "--exportTimes" in switch]
    assert len(set(times)) == len(times)


def test_our_own_builder_is_asked_for_the_same(tmp_path: Path) -> None:
    """The command is really run, with a builder that only says what it was asked for."""
    [model] = recipe("int8", plan=replace(PLAN, targets=("8.9",))).models
    (tmp_path / "export").symlink_to(ROOT / "export")
    head = (
        "import export.engine as e, json, types, dataclasses\n"
        "e.build_engine = lambda source, target, plan: types.SimpleNamespace(\n"
        "    status=json.dumps([str(source), str(target), dataclasses.asdict(plan)]))\n"
    )
    assert model.python[:2] == ("python", "-c")
    command = [sys.executable, "-c", head + model.python[2]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    source, target, plan = json.loads(done.stdout)
    assert (source, target) == ("onnx/L-int8.onnx", "engines/L-int8.trt.engine")
    assert plan == {**asdict(PLAN), "precision": "int8", "targets": None}


def test_a_fixed_batch() -> None:
    fixed = EnginePlan(batch_min=2, batch_opt=2, batch_max=2)
    [model] = recipe_of(manifest(artifact("fp32", 2)), fixed).models
    assert (model.min_shape, model.max_shape) == ((2, 3, 256, 256), (2, 3, 256, 256))
    with pytest.raises(BadInput, match="--batches 2,2,2"):
        recipe_of(manifest(artifact("fp32", 2)), PLAN)


def test_only_proven_onnx_files_have_recipes() -> None:
    failed = artifact("int8", status="parity fail")
    made = recipe_of(manifest(artifact("fp32"), artifact("fp32", kind="engine"), failed, artifact("fp16")), PLAN)
    assert [model.precision for model in made.models] == ["fp32", "fp16"]


def test_the_readable_form_holds_every_command() -> None:
    made = recipe("fp32", "fp16")
    lines = as_markdown(made).splitlines()
    for model in made.models:
        commands = [model.python, *model.trtexec.values(), *(c for t in model.timings for c in t.trtexec.values())]
        assert all(shlex.join(command) in lines for command in commands)
        assert f"echo '{model.onnx_sha256}  {model.onnx}' | sha256sum --check" in lines
    record = json.loads(as_json(made))
    assert record["schema_version"] == "1.0"
    assert record["models"][1]["trtexec"]["10"] == list(made.models[1].trtexec["10"])


def test_it_is_written_once(tmp_path: Path) -> None:
    made = recipe("fp32")
    path = write_recipe(tmp_path, made)
    assert path is not None
    before = path.stat().st_mtime_ns
    write_recipe(tmp_path, made)
    assert path.stat().st_mtime_ns == before
    write_recipe(tmp_path, recipe("fp16"))
    assert "L-fp16" in path.read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["recipe.json", "recipe.md"]
    assert write_recipe(tmp_path, recipe()) is None
    assert list(tmp_path.iterdir()) == []


def test_an_export_leaves_one_that_is_true_of_its_files(demo_export: Path) -> None:
    made, read = json.loads((demo_export / "recipe.json").read_text()), read_manifest(demo_export / WHOLE)
    [model] = made["models"]
    assert (model["onnx"], model["onnx_sha256"]) == (read.artifacts[0].path, read.artifacts[0].sha256)
    check = f"echo '{model['onnx_sha256']}  {model['onnx']}' | sha256sum --check"
    assert check in (demo_export / "recipe.md").read_text()
    subprocess.run(check, shell=True, cwd=demo_export, check=True, capture_output=True)
