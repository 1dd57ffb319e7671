"""The recipe is a pure function of the manifest: what it says is what an engine on the device would be."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from itertools import product, starmap
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cli.main import app
from export.common.errors import BadInput
from export.engine.plan import EnginePlan
from export.graph.onnx_record import TensorSpec
from export.parity.budgets import WITHIN_ROUNDING
from export.pipeline.layout import MANIFEST
from export.pipeline.manifest import Artifact, Manifest, read_manifest
from export.pipeline.recipe import BOUNDARIES, MAJORS, ModelRecipe, recipe_of, recipes_of, write_recipe
from tests.support.command_line import ROOT
from tests.support.planted_manifest import artifact as planted_artifact
from tests.support.planted_manifest import manifest_of
from tests.support.tiny_export import Run


def artifact(precision: str, **changes: Any) -> Artifact:
    return planted_artifact("L", precision).model_copy(update=changes)


def manifest(*artifacts: Artifact) -> Manifest:
    return manifest_of("L", "stand-in", ()).model_copy(update={"artifacts": list(artifacts)})


PLAN = EnginePlan(batch_opt=4, workspace_bytes=512 << 20)


def recipe(precision: str, plan: EnginePlan = PLAN) -> ModelRecipe:
    return recipe_of(artifact(precision), plan)


def test_the_build_with_trtexec() -> None:
    model = recipe("fp16")
    assert model.build(10) == (
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
    assert set(model.build(10)) - set(model.build(11)) == {"--stronglyTyped"}
    assert set(model.build(11)) - set(model.build(10)) == set()


def test_tf32_stays_where_it_was_asked_for() -> None:
    plan = replace(PLAN, tf32=True)
    assert "--noTF32" not in recipe("fp32", plan).build(10) + recipe("fp32", plan).build(11)
    assert "--tf32" in recipe("fp32", plan).build_with_record()
    assert "--noTF32" in recipe("fp16", plan).build(10)
    assert "--tf32" not in recipe("fp16", plan).build_with_record()


def test_compatible_engines_are_asked_for_by_trtexec_and_by_us() -> None:
    model, usual = recipe("fp32", replace(PLAN, hardware_compatible=True, version_compatible=True)), recipe("fp32")
    for major in MAJORS:
        for switch in ("--hardwareCompatibilityLevel=ampere+", "--versionCompatible"):
            assert switch in model.build(major)
            assert switch not in usual.build(major)
        assert "--versionCompatible" in model.time(1, "gpu", major)  # or the runtime does not load what was built so
        assert "--versionCompatible" not in usual.time(1, "gpu", major)
    assert model.build_with_record()[-2:] == ("--hardware-compatible", "--version-compatible")
    assert any("leave it out on a Jetson" in note for note in model.notes)


@pytest.mark.parametrize(
    ("types", "said"),
    [(("Int8", "Half"), "{'conv': {'fp16+int8': 1}}"), (("Half", "Half"), "no layer computes in int8")],
)
def test_an_engine_of_trtexec_can_be_proven(tmp_path: Path, types: tuple[str, str], said: str) -> None:
    """The command is really run, on what ``trtexec --exportLayerInfo`` writes."""
    model = recipe_of(artifact("int8", details={"nodes": {"Conv": 1, "QuantizeLinear": 1}}), PLAN)
    (tmp_path / "export").symlink_to(ROOT / "export")
    (tmp_path / "engines").mkdir()
    taken, given = ([{"DataType": kind}] for kind in types)
    layer = {"Name": "c", "LayerType": "conv", "Inputs": taken, "Outputs": given}
    (tmp_path / model.layers).write_text(json.dumps({"Layers": [layer]}))
    program, *arguments = model.prove()
    assert program == "python"
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) == ("no layer" not in said)


def test_both_majors_time_the_same_thing() -> None:
    """What is on by default differs, so the switches must differ; here is what each run comes to."""
    defaults = {
        10: {"transfers": True, "spin": False, "graph": False},
        11: {"transfers": False, "spin": True, "graph": True},
    }
    effects = {
        "--noDataTransfers": ("transfers", False),
        "--includeDataTransfers": ("transfers", True),
        "--useSpinWait": ("spin", True),
        "--noSpinWait": ("spin", False),
        "--useCudaGraph": ("graph", True),
        "--noCudaGraph": ("graph", False),
    }
    model, times = recipe("fp16"), set()
    assert model.batches == (1, 4, 8)
    for major, batch, boundary in product(MAJORS, model.batches, BOUNDARIES):
        command = model.time(batch, boundary, major)
        changed = dict(effects[switch] for switch in command if switch in effects)
        assert defaults[major] | changed == {"transfers": boundary == "host", "spin": True, "graph": True}
        assert major == 10 or changed.keys() == {
            "spin",
            "graph",
            "transfers",
        }  # nothing is left to what is on by default
        assert f"--shapes=image:{batch}x3x256x256" in command
        assert f"--loadEngine={model.trtexec_engine}" in command
        times |= {switch for switch in command if "--exportTimes" in switch}
    assert len(times) == 6


def test_our_own_builder_is_asked_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is really run, with a builder that only says what it was asked for."""
    plans: list[tuple[Path, Path, EnginePlan]] = []

    def build_engine(source: Path, target: Path, plan: EnginePlan, progress: object) -> NoReturn:
        plans.append((source, target, plan))
        raise BadInput("planted", "", "")

    monkeypatch.setattr("export.engine.build.build_engine", build_engine)
    model = recipe("int8", replace(PLAN, targets=("8.9",), runtime="tensorrt-rtx"))
    with pytest.raises(BadInput, match="planted"):
        app(model.build_with_record()[1:], standalone_mode=False)
    plan = replace(PLAN, precision="int8", targets=None, runtime="tensorrt")
    assert plans == [(Path("onnx/L-int8.onnx"), Path("engines/L-int8.trt.engine"), plan)]


def test_a_fixed_batch() -> None:
    two = artifact("fp32", inputs=(TensorSpec("image", "float32", (2, 3, 256, 256)),))
    model = recipe_of(two, EnginePlan(batch_min=2, batch_opt=2, batch_max=2))
    assert {"--minShapes=image:2x3x256x256", "--maxShapes=image:2x3x256x256"} < set(model.build(10))
    with pytest.raises(BadInput, match="--batches 2,2,2"):
        recipe_of(two, PLAN)


def test_only_proven_onnx_files_have_recipes() -> None:
    failed, explained = artifact("int8", status="parity fail"), artifact("fp16", status=f"parity {WITHIN_ROUNDING}")
    recipes = recipes_of(manifest(artifact("fp32"), artifact("fp32", kind="engine"), failed, explained), PLAN)
    assert [model.plan.precision for model in recipes] == ["fp32", "fp16"]


def test_the_page_holds_every_command_and_is_written_once(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, manifest(artifact("fp32"), artifact("fp16")), PLAN)
    assert path is not None
    lines, before = path.read_text().splitlines(), path.stat().st_mtime_ns
    for model in (recipe("fp32"), recipe("fp16")):
        timings = product(model.batches, BOUNDARIES, MAJORS)
        commands = [model.build_with_record(), model.prove(), *map(model.build, MAJORS), *starmap(model.time, timings)]
        assert all(shlex.join(command) in lines for command in commands)
        assert f"echo '{model.artifact.sha256}  {model.onnx}' | sha256sum --check" in lines
    write_recipe(tmp_path, manifest(artifact("fp32"), artifact("fp16")), PLAN)
    assert path.stat().st_mtime_ns == before
    write_recipe(tmp_path, manifest(artifact("fp16")), PLAN)
    assert "L-fp32" not in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.md"]
    assert write_recipe(tmp_path, manifest(), PLAN) is None
    assert list(tmp_path.iterdir()) == []


def test_an_export_leaves_one_that_is_true_of_its_files(tiny_run: Run) -> None:
    folder = tiny_run[0] / "build/tiny"
    [onnx] = (artifact for artifact in read_manifest(folder / MANIFEST).artifacts if artifact.kind == "onnx")
    check = f"echo '{onnx.sha256}  {onnx.path}' | sha256sum --check"
    assert check in (folder / "recipe.md").read_text()
    subprocess.run(check, shell=True, cwd=folder, check=True, capture_output=True)
