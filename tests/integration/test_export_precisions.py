"""``convnextpose export`` in every precision and input format, on a small network of the released layout."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import export.engine.build
from bench.accuracy.evaluation import open_models
from bench.harness.parity_check import ParityCheck
from bench.sessions.exported import load_session, read_export
from bench.sessions.inference import run_network
from export.common.errors import BadInput, NotPossible
from export.common.files import sha256_file
from export.common.interface import PRECISIONS
from export.parity.budgets import WITHIN_ROUNDING
from export.parity.images import parity_images
from export.pipeline.steps import version
from export.plan.calibration import drawn_calibration
from export.plan.precision_plan import FROM_FILE
from export.runtime import openvino
from export.runtime.openvino import SATURATES, saturates
from tests.support.checkpoints import alive_weights, spelled, write
from tests.support.command_line import FEW_IMAGES, assert_three_parts, in_process
from tests.support.photos import write_rgb
from tests.support.planted_worker import plant
from tests.support.tiny_export import Run, assert_whole, export_tiny, manifest, read_run, steps_said

# ── half precisions ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def half_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    export_tiny(folder := tmp_path_factory.mktemp("half"), "--precision", "FP16,bf16", "--verbose")
    return read_run(folder)


def test_half_precisions_are_made_and_proven(half_run: Run) -> None:
    place, run = half_run
    assert run.returncode == 0, run.stderr
    each = ("ranges", "plan", "onnx", "parity", "engine")
    made_steps = [f"{step}-{precision}" for precision in ("fp16", "bf16") for step in each]
    assert steps_said(run.stderr, "done") == ["weights", "calibration", "truth", *made_steps, "latency"]
    assert_whole(place)
    made = manifest(place)
    for precision, kind, layer_kind in (("fp16", "float16", "HALF"), ("bf16", "bfloat16", "BF16")):
        file = next(a for a in made.artifacts if (a.kind, a.precision) == ("onnx", precision))
        assert file.details["types"]["operators"]["Conv"] == {kind: 26}
        assert file.details["types"]["operators"]["Softmax"] == {"float32": 1}
        assert (file.inputs[0].dtype, file.outputs[0].dtype) == ("float32", "float32")
        assert file.status == f"parity {WITHIN_ROUNDING}"  # stand-in weights
        assert f"{precision}: {precision.upper()}, none of 26 convolutions in FP32; not searched" in run.stdout
        [judged] = [result for result in made.parity if result.artifact == file.path]
        drift = file.details["drift"]
        assert (drift["mean_mm"], drift["images"]) == (judged.candidate.mean_mm, judged.images.model_dump(mode="json"))
        assert json.loads((place / "build/tiny" / drift["record"]).read_text()) == judged.model_dump(mode="json")
        assert "bit for bit" in file.details["proof"]["weights"]
        engines = [a for a in made.artifacts if (a.kind, a.precision) == ("engine", precision)]
        assert all(engine.details["layer_types"]["CONVOLUTION"] == {layer_kind: 26} for engine in engines)
        assert len(engines) == (version("tensorrt-rtx") != "absent")
    assert [(ranges.precision, ranges.overflowing) for ranges in made.ranges] == [("fp16", {}), ("bf16", {})]
    for ranges in made.ranges:
        every = json.loads((place / "build/tiny" / ranges.every_layer).read_text())["layers"]
        assert {layer["layer"] for layer in every} > ranges.activations.keys()


def test_each_half_file_is_judged_by_its_types_and_by_a_runtime(half_run: Run) -> None:
    place, run = half_run
    fp16, bf16 = manifest(place).parity
    assert [run.runner for run in fp16.runs] == ["ONNX Runtime", "rounding, simulated"]
    assert [run.runner for run in bf16.runs] == ["OpenVINO", "rounding, simulated"]
    assert "convolutions in" in bf16.runs[0].runtime
    for result in (fp16, bf16):
        assert result.budget.grade is None  # stand-in weights
        assert result.runtime in {run.runtime for run in result.runs}
        assert {run.status for run in result.runs} == {WITHIN_ROUNDING}
        assert f"{result.precision}: no error budget" in run.stdout
    assert "pass" not in run.stdout.partition("Parity with")[2].partition("fp16:")[0]


def test_without_fp32_the_latency_table_is_that_of_fp16(half_run: Run) -> None:
    rows = json.loads((half_run[0] / "build/tiny/latency.json").read_text())["rows"]
    assert [(row["runtime"], row["precision"]) for row in rows] == [("pytorch", "fp32"), ("onnxruntime", "fp16")]
    assert rows[1]["precision_used"] == "fp32"


def test_a_precision_that_is_refused_keeps_no_other_from_being_made(place: Path) -> None:
    """What does not fit into FP16, nor into the scales around int8, is named; FP32 is made; the exit code tells."""
    weights = alive_weights()
    for name, factor in (("pwconv1.weight", 2.0**30), ("pwconv1.bias", 2.0**30), ("pwconv2.weight", 2.0**-30)):
        weights[f"backbone.stages.1.0.{name}"] *= factor
    write(place / "large.tar", spelled(weights))
    run = in_process("export", "tiny.yaml", "--checkpoint", "large.tar", "--precision", "int8,fp16,fp32", cwd=place)
    assert_three_parts(run, 1)
    made = manifest(place)
    assert {(a.kind, a.precision) for a in made.artifacts} >= {("onnx", "fp32")}
    int8, fp16 = [row for row in made.not_run if row.kind == "onnx"]
    assert (int8.precision, int8.status, fp16.precision, fp16.status) == ("int8", "failed", "fp16", "failed")
    assert "int8 is not possible" in int8.reason
    assert "backbone.stages.1.0.pwconv1: " in fp16.reason
    assert next(iter(made.ranges[0].overflowing)) == "backbone.stages.1.0.pwconv1"
    assert [result.precision for result in made.parity] == ["fp32"]
    assert not (place / "build/tiny/onnx/tiny-fp16.onnx").exists()


def test_half_files_are_evaluated_by_what_judged_them(half_run: Run) -> None:
    exported = read_export(half_run[0] / "build/tiny")
    models = open_models(exported, None, reference=False)
    simulated = "rounding, simulated"
    assert [(c.runtime, c.session.precision) for c in models] == [
        *(("ONNX Runtime", "fp16"), (simulated, "fp16")),
        *(("OpenVINO", "bf16"), (simulated, "bf16")),
    ]
    size = exported.volume.input_size
    for session in (*(model.session for model in models), load_session(exported, "openvino", "bf16")):
        assert session.run(np.zeros((2, 3, size, size), np.float32)).shape == (2, 18, 3)
    with pytest.raises(NotPossible, match="choose openvino"):
        load_session(exported, "onnxruntime", "bf16")
    with np.load(exported.path / "parity/truth.npz") as known:
        timed = ParityCheck(exported)("fp16", known["truth"][:4])
    assert timed["status"] == WITHIN_ROUNDING  # as timed, too
    for never in ("int4", "fp8-pixels"):  # no export makes it, and none is recommended
        with pytest.raises(BadInput, match="unknown precision"):
            exported.onnx(never)


# ── int8, and variants that take pixels ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def int8_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = ("--precision", "int8", "--with-preprocess", "--verbose")
    export_tiny(folder := tmp_path_factory.mktemp("int8"), *options, latency=False)
    return read_run(folder)


@pytest.fixture
def int8_copy(int8_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_run[0], tmp_path / "int8"))


def test_int8_and_its_pixel_variant_are_made_and_proven(int8_run: Run) -> None:
    place, run = int8_run
    assert run.returncode == 0, run.stderr
    assert_whole(place)
    made = manifest(place)
    files = [artifact for artifact in made.artifacts if artifact.kind == "onnx"]
    assert [(a.precision, a.inputs[0].dtype, a.inputs[0].shape) for a in files] == [
        ("int8", "float32", ("batch", 3, 256, 256)),
        ("int8", "uint8", ("batch", 256, 256, 3)),
    ]
    assert [(result.variant, result.outcome) for result in made.parity] == [
        ("int8", "pass"),
        ("int8-pixels", "pass"),
    ]
    for result in made.parity:
        said = [*(run.runner for run in result.runs), *(run.runner for run in result.not_run)]
        assert sorted(said) == ["ONNX Runtime", "OpenVINO", "rounding, simulated"]
        assert [run.reason for run in result.not_run] == [SATURATES] * saturates()
        assert ("not run by OpenVINO" in run.stdout) == saturates()
        assert (result.images.count, "drawn figures" in result.images.source) == (FEW_IMAGES, True)
    for file in files:
        convs = {conv["name"]: conv for conv in file.details["plan"]["convs"]}
        quantised = [name for name, conv in convs.items() if conv["precision"] == "int8"]
        assert file.details["types"]["operators"]["QuantizeLinear"] == {"int8": len(quantised)}
        assert all(conv["reason"] for conv in convs.values())
        proof = file.details["proof"]["int8"]
        assert proof["compared"].startswith("bit for bit: the FP16 graph")
        assert (proof["convolutions_int8"], proof["convolutions_fp16"]) == (len(quantised), 26 - len(quantised))
        plan = file.details["plan"]
        assert plan["calibration"]["count"] == FEW_IMAGES
        assert sha256_file(place / "build/tiny" / plan["record"]) == plan["sha256"]
    assert f"int8: INT8: {len(quantised)} of 26 convolutions" in run.stdout
    engines = [artifact for artifact in made.artifacts if artifact.kind == "engine"]
    assert len(engines) == 2 * (version("tensorrt-rtx") != "absent")


def test_pixel_variants_are_run_like_the_others(int8_run: Run) -> None:
    exported = read_export(int8_run[0] / "build/tiny")
    assert exported.variants == ("int8", "int8-pixels")
    assert exported.precisions == ("int8",)
    crops = parity_images(256).images[:2]
    floats, pixels = (load_session(exported, "onnxruntime", variant) for variant in exported.variants)
    assert (floats.takes_pixels, pixels.takes_pixels) == (False, True)
    seen = [run_network(backend, crops, exported.volume) for backend in (floats, pixels)]
    apart = np.linalg.norm((seen[0] - seen[1]) * exported.volume.bin_mm, axis=2).mean()
    assert apart < 100  # stand-in weights: roundings move joints from peak to peak, but not everywhere at once
    for model in open_models(exported, "int8-pixels", reference=False):
        assert run_network(model.session, crops, exported.volume).shape == (2, 18, 3)


@pytest.mark.parametrize("planted", [False, True])
def test_where_int8_sums_saturate_openvino_runs_none(
    planted: bool, int8_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = read_export(int8_run[0] / "build/tiny")
    monkeypatch.setattr(openvino, "saturates", lambda: planted)
    if planted:
        with pytest.raises(NotPossible, match="saturate"):
            load_session(exported, "openvino", "int8")
    else:
        assert load_session(exported, "openvino", "int8").runtime == "openvino"


def test_a_plan_can_be_given_back(int8_copy: Path) -> None:
    record = json.loads((int8_copy / "build/tiny/plan/int8.json").read_text())
    kept = next(conv for conv in record["convs"] if conv["precision"] == "int8")
    kept.update(precision="fp16", reason="by hand")
    (int8_copy / "mine.json").write_text(json.dumps(record))
    run = in_process("export", "tiny.yaml", "--precision", "int8", "--plan", "mine.json", cwd=int8_copy)
    assert run.returncode == 0, run.stderr
    used = manifest(int8_copy).artifacts[0].details["plan"]
    assert next(conv for conv in used["convs"] if conv["name"] == kept["name"])["reason"] == "by hand"
    assert (used["search"][-1], used["mean_mm"]) == (FROM_FILE, None)


def test_an_engine_of_fewer_int8_convolutions_than_planned_is_none(
    int8_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx")
    engine = int8_copy / "build/tiny/engines/tiny-int8.rtx.engine"
    engine.unlink()
    code = """
        inner = n.count_convolutions
        def count(layers):
            found = inner(layers)
            return n.Convolutions(found.total, found.int8 - 1, found.fp32)
        n.count_convolutions = count
    """
    monkeypatch.setattr(export.engine.build, "WORKER", plant(code))
    run = in_process("export", "tiny.yaml", "--precision", "int8", "--with-preprocess", cwd=int8_copy)
    assert_three_parts(run, 1)
    [missing] = manifest(int8_copy).not_run
    assert re.search(r"(\d+) of 26 convolutions in int8, planned: \d+", missing.reason)
    assert not engine.exists()


def test_a_plan_of_other_images_or_weights_is_refused(int8_run: Run, place: Path) -> None:
    """Two new crops beside the calibration's own do not make parity's images others."""
    (place / "crops").mkdir()
    for index, image in enumerate([*drawn_calibration(256).images, *parity_images(256).images[:2]]):
        write_rgb(place / f"crops/{index}.png", image)
    weights = alive_weights()
    weights["head.final_layer.bias"][0] += 1
    write(place / "other.tar", spelled(weights))
    plan = int8_run[0] / "build/tiny/plan/int8.json"
    for other, said in (("--images=crops", f"{FEW_IMAGES} images"), ("--checkpoint=other.tar", "other weights")):
        run = in_process("export", "tiny.yaml", "--precision", "int8", "--plan", plan, other, cwd=place)
        assert_three_parts(run, 2)
        assert said in run.stderr
    assert not list(place.rglob("*.onnx"))


@pytest.mark.parametrize(
    "wrong",
    [
        *(("--precision", "fp64"), ("--precision", ""), ("--precision", "bf16", "--targets", "7.5,8.6")),
        *(("--calibration", "."), ("--plan", "plan.json"), ("--images", ".")),
        *(("--precision", "int8", "--calibration", "."), ("--precision", "int8", "--plan", "nowhere.json")),
        *(("--require", "perfect"), ("--precision", "fp32,fp16", "--require", "exact")),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(place: Path, wrong: tuple[str, ...]) -> None:
    assert_three_parts(in_process("export", "tiny.yaml", *wrong, cwd=place), 2)
    assert not list(place.rglob("*.onnx"))


def test_the_help_names_every_precision(tmp_path: Path) -> None:
    assert ",".join(PRECISIONS) in in_process("export", "--help", cwd=tmp_path).stdout
