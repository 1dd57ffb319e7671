"""Test the files that are sent to a device, and the engines that it builds."""

import json
import os
import shutil
from pathlib import Path

import pytest

from bench.fleet import engines
from bench.fleet.blobs import BlobCache
from bench.fleet.engines import with_engines
from bench.fleet.matrix import read_matrix
from bench.fleet.plan import plan_fleet
from bench.sessions.exported import read_export
from export.common.errors import BadInput
from export.pipeline.manifest import Manifest
from export.pipeline.steps import Folder
from export.runtime.gpu import Gpu, default_gpu
from tests.support.fleet_observer import Steps
from tests.support.fleet_plans import spec_of


def test_models_are_exported_once_and_engines_are_not_sent(place: Path) -> None:
    """Export the tiny network by its configuration; a TensorRT-RTX engine, if any, stays here."""
    matrix = {"models": ["./tiny.yaml"], "devices": [{"name": "orin", "resource": "jetson_orin"}]}
    (place / "matrix.yaml").write_text(json.dumps(matrix))  # JSON is YAML
    first, second = Steps(), Steps()
    plan = plan_fleet(read_matrix(place / "matrix.yaml"), first)
    assert plan_fleet(read_matrix(place / "matrix.yaml"), second) == plan
    assert {"weights", "truth", "onnx-fp32", "parity-fp32"} <= set(first.begun)
    assert [step for step in second.begun if not step.startswith("engine")] == []
    (spec,) = plan.specs
    names = {"manifest.json", "onnx/tiny-fp32.onnx", "parity/truth.npz", "weights/weights.safetensors"}
    assert (spec.model, set(spec.files), plan.sources.missing(spec.files.values())) == ("tiny", names, [])
    sent = Manifest.model_validate_json(plan.sources.path(spec.files["manifest.json"]).read_bytes())
    assert [artifact.kind for artifact in sent.artifacts] == ["onnx"]


def test_two_models_of_one_name_and_an_incomplete_folder_are_refused(demo_export: Path, tmp_path: Path) -> None:
    matrix = {"models": [str(demo_export)] * 2, "devices": [{"name": "orin", "resource": "jetson_orin"}]}
    (tmp_path / "matrix.yaml").write_text(json.dumps(matrix))
    with pytest.raises(BadInput, match="two models have one name"):
        plan_fleet(read_matrix(tmp_path / "matrix.yaml"), Steps())
    for precision, message in (("fp16", "has no fp16"), ("fp32", "is incomplete")):
        shutil.copytree(demo_export, tmp_path / precision, ignore=shutil.ignore_patterns("truth.npz"))
        more = {"models": [f"./{precision}"], "precisions": [precision]}
        (tmp_path / "matrix.yaml").write_text(json.dumps(matrix | more))
        with pytest.raises(BadInput, match=message):
            plan_fleet(read_matrix(tmp_path / "matrix.yaml"), Steps())


def test_engines_are_built_on_the_device_and_once(
    demo_export: Path, tmp_path: Path, sources: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use the real builder, for a GPU that is not here."""
    pytest.importorskip("tensorrt_rtx")

    monkeypatch.setattr(engines, "default_gpu", lambda: (Gpu("a GPU", "8.9", 8 << 30, 16), ""))
    steps = Steps()
    exported = read_export(demo_export)
    only = [artifact for artifact in exported.manifest.artifacts if artifact.kind == "onnx"]
    sent = exported.manifest.model_copy(update={"artifacts": only})
    place = Folder(tmp_path / "place", steps)
    for artifact in only:
        (place.path / artifact.path).parent.mkdir(parents=True)
        os.link(demo_export / artifact.path, place.path / artifact.path)
    spec = spec_of("A", sources, runtimes=("tensorrt-rtx",))
    for _ in range(2):
        with_engine, lines = with_engines(place, type(exported)(place.path, sent), spec)
    assert (steps.begun, steps.up_to_date_) == (["engine-fp32"], ["engine-fp32"])
    (engine,) = [artifact for artifact in with_engine.manifest.artifacts if artifact.kind == "engine"]
    assert (engine.runtime, engine.targets, engine.precision) == ("tensorrt_rtx", ("8.9",), "fp32")
    assert lines[0].startswith("fp32: built for SM 8.9; not run")
    unchanged, lines = with_engines(place, type(exported)(place.path, sent), spec_of("A", sources))
    assert (unchanged.manifest, lines) == (sent, [])


def test_device_without_gpu_builds_no_engine(demo_export: Path, tmp_path: Path, sources: BlobCache) -> None:
    if default_gpu()[0] is not None:
        pytest.skip("there is a GPU here")
    exported = read_export(demo_export)
    spec = spec_of("A", sources, runtimes=("tensorrt", "tensorrt-rtx"))
    assert with_engines(Folder(tmp_path, Steps()), exported, spec) == (exported, [f"none built: {default_gpu()[1]}"])
