"""The repository for Triton: its configurations by Triton's own schema, and its ONNX files by running them."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format

from export.bundle.triton import preprocessing, write_triton
from export.common.errors import BadInput
from export.common.files import sha256_file
from export.engine.plan import EnginePlan
from export.model.pose import normalise
from tests.support.bundles import export_once, flip_last, rewrite, run_with_trtexec
from tests.support.command_line import assert_three_parts, in_process

TRITON = "tritonclient==2.73.0"
"""Not installed with the rest: it wants an older ml_dtypes than onnx has. Only its schema is used."""


@pytest.fixture(scope="module")
def repository(once_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_triton(once_export, tmp_path_factory.mktemp("triton"), None, EnginePlan()).folder


@pytest.fixture(scope="module")
def pixels_export(once_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FP32 and FP16 with pixel variants, of which that of FP16 is said not to be proven; most steps are done before."""
    place = Path(shutil.copytree(once_export.parents[1], tmp_path_factory.mktemp("pixels") / "once"))
    folder = export_once(place, "--with-preprocess", precisions="fp32,fp16")
    manifest = json.loads((folder / "manifest.json").read_text())
    [half] = [a for a in manifest["artifacts"] if a["path"] == "onnx/once-fp16-pixels.onnx"]
    half["status"] = "parity fail"
    rewrite(folder / "manifest.json", lambda _: json.dumps(manifest).encode())
    return folder


@pytest.fixture(scope="module")
def pixels_repository(pixels_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_triton(pixels_export, tmp_path_factory.mktemp("triton"), None, EnginePlan()).folder


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Triton's model_config as protobuf messages, out of its client's wheel."""
    folder = tmp_path_factory.mktemp("tritonclient")
    install: list[Any] = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, TRITON]
    run = subprocess.run(install, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        pytest.skip(f"{TRITON} cannot be fetched: {run.stderr.strip().splitlines()[-1]}")
    path = folder / "tritonclient/grpc/model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configurations(schema: Any, side: Path) -> dict[str, Any]:
    found = {}
    for path in sorted(side.glob("*/config.pbtxt")):
        found[path.parent.name] = text_format.Parse(path.read_text(), schema.ModelConfig())
    return found


def tensors(values: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {value.name: (value.data_type, tuple(value.dims)) for value in values}


@pytest.mark.parametrize("side", ["cpu", "gpu"])
def test_every_configuration_is_one_of_tritons(repository: Path, schema: Any, side: str) -> None:
    found = configurations(schema, repository / side)
    served = ["fp16", "fp32", "int8"] + ["bf16"] * (side == "gpu")
    ensembles = {f"once-{precision}" for precision in served}
    assert found.keys() == {"once-preprocess"} | ensembles | {f"{name}-network" for name in ensembles}
    for name, config in found.items():
        assert config.name == name
        assert config.max_batch_size == 8
        assert (repository / side / name / "1").is_dir()
        if name in ensembles:
            assert config.platform == "ensemble"
            continue
        assert config.HasField("dynamic_batching")
        assert config.dynamic_batching.max_queue_delay_microseconds > 0
        on_gpu = side == "gpu" and name != "once-preprocess"
        assert config.backend == ("tensorrt" if on_gpu else "onnxruntime")
        [group] = config.instance_group
        assert group.kind == (group.KIND_GPU if on_gpu else group.KIND_CPU)
        assert [warm.batch_size for warm in config.model_warmup] == [1, 8]
        for warm in config.model_warmup:
            given = {key: (value.data_type, tuple(value.dims)) for key, value in warm.inputs.items()}
            assert given == tensors(config.input)


@pytest.mark.parametrize("side", ["cpu", "gpu"])
def test_ensembles_lead_from_pixels_to_joints(repository: Path, schema: Any, side: str) -> None:
    found = configurations(schema, repository / side)
    for config in (config for config in found.values() if config.platform == "ensemble"):
        known = tensors(config.input)
        for step in config.ensemble_scheduling.step:
            model = found[step.model_name]
            for inner, outer in step.input_map.items():
                assert tensors(model.input)[inner] == known[outer]
            known |= {outer: tensors(model.output)[inner] for inner, outer in step.output_map.items()}
            assert step.input_map.keys() == tensors(model.input).keys()
        assert tensors(config.output).items() <= known.items()
        assert tensors(config.input) == {"image": (schema.TYPE_UINT8, (256, 256, 3))}
        assert tensors(config.output) == {"joints": (schema.TYPE_FP32, (18, 3))}


@pytest.mark.parametrize("side", ["cpu", "gpu"])
def test_a_proven_pixel_variant_is_served_as_it_is(pixels_repository: Path, schema: Any, side: str) -> None:
    """Clients see no difference; what is not proven is not served, and its precision is an ensemble as ever."""
    found = configurations(schema, pixels_repository / side)
    assert found.keys() == {"once-fp32", "once-preprocess", "once-fp16", "once-fp16-network"}
    assert found["once-fp32"].backend == ("tensorrt" if side == "gpu" else "onnxruntime")
    assert found["once-fp16"].platform == "ensemble"
    for name in ("once-fp32", "once-fp16"):
        assert tensors(found[name].input) == {"image": (schema.TYPE_UINT8, (256, 256, 3))}
        assert tensors(found[name].output) == {"joints": (schema.TYPE_FP32, (18, 3))}
    said = (pixels_repository / "README.md").read_text()
    assert "- `once-fp32`: the pixel variant" in said
    assert "- `once-fp16`: an ensemble of `once-preprocess`" in said


def test_the_pixel_variant_computes_what_the_export_computes(pixels_repository: Path, pixels_export: Path) -> None:
    path = pixels_repository / "cpu/once-fp32/1/model.onnx"
    assert sha256_file(path) == sha256_file(pixels_export / "onnx/once-fp32-pixels.onnx")
    with np.load(pixels_export / "parity/truth.npz") as known:
        images, truth = known["images"][:4], known["truth"][:4]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": images})[0], truth, atol=2e-3)


def test_a_pixel_variant_that_was_changed_is_refused(pixels_export: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pixels_export, tmp_path / "once"))
    rewrite(folder / "onnx/once-fp32-pixels.onnx", flip_last)
    with pytest.raises(BadInput, match=r"once-fp32-pixels\.onnx"):
        write_triton(folder, tmp_path, None, EnginePlan())


def test_what_is_no_configuration_is_seen(repository: Path, schema: Any) -> None:
    """The schema refuses a field, a value and a type that it does not know."""
    text = (repository / "cpu/once-fp16-network/config.pbtxt").read_text()
    for before, after in (("dynamic_batching", "dynamic_batches"), ("KIND_CPU", "KIND_NPU"), ("TYPE_FP32", "FLOAT")):
        assert before in text
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text.replace(before, after), schema.ModelConfig())
    twice = (repository / "cpu/once-fp16/config.pbtxt").read_text() + "dynamic_batching { }\n"
    with pytest.raises(text_format.ParseError):  # an ensemble batches nothing by itself
        text_format.Parse(twice, schema.ModelConfig())


def test_the_onnx_files_are_what_the_configurations_say(repository: Path, schema: Any) -> None:
    kinds = {onnx.TensorProto.FLOAT: schema.TYPE_FP32, onnx.TensorProto.UINT8: schema.TYPE_UINT8}
    models = sorted(repository.glob("*/*/1/model.onnx"))
    assert len(models) == 5
    for path in models:
        config = configurations(schema, path.parents[2])[path.parents[1].name]
        graph = onnx.load(path).graph
        for values, told in ((graph.input, config.input), (graph.output, config.output)):
            seen = {}
            for value in values:
                batch, *rest = value.type.tensor_type.shape.dim
                assert batch.dim_param
                seen[value.name] = (kinds[value.type.tensor_type.elem_type], tuple(d.dim_value for d in rest))
            assert seen == tensors(told)


def test_the_ensemble_computes_what_the_export_computes(repository: Path, once_export: Path) -> None:
    with np.load(once_export / "parity/truth.npz") as known:
        images, truth = known["images"][:4], known["truth"][:4]

    def run(path: Path, name: str, given: Any) -> Any:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {name: given})[0]

    image = run(repository / "cpu/once-preprocess/1/model.onnx", "pixels", images)
    np.testing.assert_array_equal(image, normalise(images))
    for precision in ("fp32", "fp16", "int8"):
        path = repository / f"cpu/once-{precision}-network/1/model.onnx"
        assert sha256_file(path) == sha256_file(once_export / f"onnx/once-{precision}.onnx")
        assert np.abs(run(path, "image", image) - truth).mean() < 0.1
    assert preprocessing(64) != preprocessing(256)


def plans(
    repository: Path, place: Path, version: str, *arguments: str, **more: str
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A copy, elsewhere and with nothing else, whose plans a stand-in for trtexec has built."""
    served = Path(shutil.copytree(repository, place / "served"))
    (served / "build-gpu.sh").chmod(0o644)  # as unpacking may leave it
    return served, run_with_trtexec(["sh", served / "build-gpu.sh", *arguments], place, version, **more)


def test_plans_are_built_where_they_are_served(repository: Path, tmp_path: Path) -> None:
    place, run = plans(repository, tmp_path, "110401")
    assert run.returncode == 0, run.stderr
    for precision in ("fp32", "fp16", "bf16", "int8"):
        asked = (place / f"gpu/once-{precision}-network/1/model.plan").read_text()
        source = "onnx/once-bf16.onnx" if precision == "bf16" else f"cpu/once-{precision}-network/1/model.onnx"
        assert f"--onnx={source} " in asked
        assert "--maxShapes=image:8x3x256x256" in asked
        assert "--stronglyTyped" not in asked  # since 11 there is nothing else
        assert "--profilingVerbosity=detailed" in asked
        assert "timing" not in asked
        assert (place / f"layers/once-{precision}.json").read_text() == asked


def test_a_plan_that_cannot_be_built_keeps_no_other_from_it(repository: Path, tmp_path: Path) -> None:
    place, run = plans(repository, tmp_path, "100300", "fp16", "int8", REFUSED="fp16")
    assert_three_parts(run, 1)
    assert "none of fp16;" in run.stderr
    assert [path.parts[-3] for path in place.rglob("model.plan")] == ["once-int8-network"]


@pytest.mark.parametrize(("version", "said"), [("8502", "too old"), ("120000", "knows TensorRT 10 and 11")])
def test_no_plan_is_built_by_another_tensorrt(repository: Path, tmp_path: Path, version: str, said: str) -> None:
    place, run = plans(repository, tmp_path, version)
    assert_three_parts(run, 4)
    assert said in run.stderr
    assert not list(place.rglob("model.plan"))


def test_no_plan_is_built_from_a_file_that_was_changed(repository: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(repository, tmp_path / "changed"))
    rewrite(changed / "onnx/once-bf16.onnx", flip_last)
    place, run = plans(changed, tmp_path, "100300")
    assert run.returncode != 0
    assert not list(place.rglob("model.plan"))


def test_the_command(once_export: Path, tmp_path: Path) -> None:
    options = ("--format", "triton", "--precision", "fp32", "--out", "out")
    run = in_process("bundle", once_export, *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "once-fp32" in run.stdout
    assert (tmp_path / "out/once-triton/cpu/once-fp32-network/1/model.onnx").is_file()
    again = in_process("bundle", once_export, *options, cwd=tmp_path)
    assert again.returncode == 0, again.stderr  # its own is replaced
    (tmp_path / "out/once-triton/about.json").unlink()
    assert_three_parts(in_process("bundle", once_export, *options, cwd=tmp_path), 2)
    with pytest.raises(BadInput):
        write_triton(tmp_path, tmp_path, None, EnginePlan())
