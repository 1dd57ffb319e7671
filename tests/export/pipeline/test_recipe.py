"""The recipe is a pure function of the manifest: what it says is what an engine on the device would be."""

import json
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from export.common.errors import BadInput
from export.engine.plan import EnginePlan
from export.graph.onnx_record import TensorSpec
from export.parity.budgets import WITHIN_ROUNDING
from export.pipeline.layout import MANIFEST
from export.pipeline.manifest import Artifact, Manifest, read_manifest
from export.pipeline.recipe import Recipe, as_markdown, recipe_of, write_recipe
from tests.support.command_line import ROOT
from tests.support.planted_manifest import artifact as planted_artifact
from tests.support.planted_manifest import manifest_of
from tests.support.tiny_export import Run


def artifact(precision: str, **changes: Any) -> Artifact:
    return planted_artifact("L", precision).model_copy(update=changes)


def manifest(*artifacts: Artifact) -> Manifest:
    return manifest_of("L", "stand-in", ()).model_copy(update={"artifacts": artifacts})


PLAN = EnginePlan(batch_opt=4, workspace_bytes=512 << 20)


def recipe(*precisions: str, plan: EnginePlan = PLAN) -> Recipe:
    return recipe_of(manifest_of("L", "stand-in", precisions), plan)


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
        "--profilingVerbosity=detailed",
        "--exportLayerInfo=engines/L-fp16.trtexec.layers.json",
        "--saveEngine=engines/L-fp16.trtexec.engine",
        "--skipInference",
    )
    assert [switch for switch in model.trtexec["10"] if switch not in model.trtexec["11"]] == ["--stronglyTyped"]
    assert [switch for switch in model.trtexec["11"] if switch not in model.trtexec["10"]] == []


def test_tf32_stays_where_it_was_asked_for() -> None:
    [model] = recipe("fp32", plan=replace(PLAN, tf32=True)).models
    assert "--noTF32" not in model.trtexec["10"] + model.trtexec["11"]
    assert "--noTF32" in recipe("fp16", plan=replace(PLAN, tf32=True)).models[0].trtexec["10"]


def test_compatible_engines_are_asked_for_by_trtexec_and_by_us() -> None:
    plan = replace(PLAN, hardware_compatible=True, version_compatible=True)
    [model] = recipe("fp32", plan=plan).models
    for switch in ("--hardwareCompatibilityLevel=ampere+", "--versionCompatible"):
        assert all(switch in command for command in model.trtexec.values())
        assert all(switch not in command for command in recipe("fp32").models[0].trtexec.values())
    assert "hardware_compatible=True, version_compatible=True" in model.python[2]
    for timing in model.timings:  # or the runtime does not load what was built so
        assert all("--versionCompatible" in command for command in timing.trtexec.values())
    assert all("--versionCompatible" not in timing.trtexec["10"] for timing in recipe("fp32").models[0].timings)
    assert any("leave it out on a Jetson" in note for note in model.notes)


@pytest.mark.parametrize(
    ("types", "said"),
    [(("Int8", "Half"), "{'conv': {'fp16+int8': 1}}"), (("Half", "Half"), "no layer computes in int8")],
)
def test_an_engine_of_trtexec_can_be_proven(tmp_path: Path, types: tuple[str, str], said: str) -> None:
    """The command is really run, on what ``trtexec --exportLayerInfo`` writes."""
    proven = artifact("int8", details={"nodes": {"Conv": 1, "QuantizeLinear": 1}})
    [model] = recipe_of(manifest(proven), PLAN).models
    (tmp_path / "export").symlink_to(ROOT / "export")
    (tmp_path / "engines").mkdir()
    taken, given = ([{"DataType": kind}] for kind in types)
    layer = {"Name": "c", "LayerType": "conv", "Inputs": taken, "Outputs": given}
    (tmp_path / model.layers).write_text(json.dumps({"Layers": [layer]}))
    assert model.prove[:2] == ("python", "-c")
    done = subprocess.run([sys.executable, *model.prove[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) == ("no layer" not in said)


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
        named = {major: {effects[s][0] for s in command if s in effects} for major, command in timing.trtexec.items()}
        assert named["11"] == {"spin", "graph", "transfers"}  # nothing is left to what is on by default
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
    [model] = recipe("int8", plan=replace(PLAN, targets=("8.9",), runtime="tensorrt-rtx")).models
    (tmp_path / "export").symlink_to(ROOT / "export")
    head = (
        "import export.engine.build as e, json, types, dataclasses\n"
        "e.build_engine = lambda source, target, plan: types.SimpleNamespace(\n"
        "    status=json.dumps([str(source), str(target), dataclasses.asdict(plan)]))\n"
    )
    assert model.python[:2] == ("python", "-c")
    command = [sys.executable, "-c", head + model.python[2]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    source, target, plan = json.loads(done.stdout)
    assert (source, target) == ("onnx/L-int8.onnx", "engines/L-int8.trt.engine")
    assert plan == {**asdict(PLAN), "precision": "int8", "targets": None, "runtime": "tensorrt"}


def test_a_fixed_batch() -> None:
    two = manifest(artifact("fp32", inputs=(TensorSpec("image", "float32", (2, 3, 256, 256)),)))
    [model] = recipe_of(two, EnginePlan(batch_min=2, batch_opt=2, batch_max=2)).models
    assert {"--minShapes=image:2x3x256x256", "--maxShapes=image:2x3x256x256"} < set(model.trtexec["10"])
    with pytest.raises(BadInput, match="--batches 2,2,2"):
        recipe_of(two, PLAN)


def test_only_proven_onnx_files_have_recipes() -> None:
    failed, explained = artifact("int8", status="parity fail"), artifact("fp16", status=f"parity {WITHIN_ROUNDING}")
    made = recipe_of(manifest(artifact("fp32"), artifact("fp32", kind="engine"), failed, explained), PLAN)
    assert [model.precision for model in made.models] == ["fp32", "fp16"]


def test_the_readable_form_holds_every_command() -> None:
    made = recipe("fp32", "fp16")
    lines = as_markdown(made).splitlines()
    for model in made.models:
        commands = [
            model.python,
            model.prove,
            *model.trtexec.values(),
            *(c for t in model.timings for c in t.trtexec.values()),
        ]
        assert all(shlex.join(command) in lines for command in commands)
        assert f"echo '{model.onnx_sha256}  {model.onnx}' | sha256sum --check" in lines


def test_it_is_written_once(tmp_path: Path) -> None:
    made = recipe("fp32")
    path = write_recipe(tmp_path, made)
    assert path is not None
    before = path.stat().st_mtime_ns
    write_recipe(tmp_path, made)
    assert path.stat().st_mtime_ns == before
    write_recipe(tmp_path, recipe("fp16"))
    assert "L-fp16" in path.read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["recipe.md"]
    assert write_recipe(tmp_path, recipe()) is None
    assert list(tmp_path.iterdir()) == []


def test_an_export_leaves_one_that_is_true_of_its_files(tiny_run: Run) -> None:
    folder = tiny_run[0] / "build/tiny"
    [onnx] = (artifact for artifact in read_manifest(folder / MANIFEST).artifacts if artifact.kind == "onnx")
    check = f"echo '{onnx.sha256}  {onnx.path}' | sha256sum --check"
    assert check in (folder / "recipe.md").read_text()
    subprocess.run(check, shell=True, cwd=folder, check=True, capture_output=True)
