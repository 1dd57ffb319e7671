"""The repository for Triton: configurations parsed with Triton's own schema, and ONNX files that are run."""

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

from export.bundle.triton import normalising_graph, write_triton
from export.common.errors import BadInput
from export.common.files import sha256_file
from export.engine.plan import EnginePlan
from export.model.pose import normalise
from tests.support.bundles import export_once, flip_last, rewrite, run_with_trtexec
from tests.support.command_line import assert_three_parts, in_process

TRITON = "tritonclient==2.73.0"
"""Not installed with the rest: it needs an older ml_dtypes than onnx has. Only its schema is used."""


@pytest.fixture(scope="module")
def repository(once_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_triton(once_export, tmp_path_factory.mktemp("triton"), None, EnginePlan()).folder


@pytest.fixture(scope="module")
def uint8_export(once_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export with uint8 graphs in FP32 and FP16, of which that of FP16 is marked as not proven."""
    place = Path(shutil.copytree(once_export.parents[1], tmp_path_factory.mktemp("uint8") / "once"))
    folder = export_once(place, "--with-preprocess", precisions="fp32,fp16")
    manifest = json.loads((folder / "manifest.json").read_text())
    [half] = [a for a in manifest["artifacts"] if a["path"] == "onnx/once-fp16-pixels.onnx"]
    half["status"] = "parity fail"
    rewrite(folder / "manifest.json", lambda _: json.dumps(manifest).encode())
    return folder


@pytest.fixture(scope="module")
def uint8_repository(uint8_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_triton(uint8_export, tmp_path_factory.mktemp("triton"), None, EnginePlan()).folder


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return Triton's model_config as protobuf messages, from its client's wheel."""
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
    paths = sorted(side.glob("*/config.pbtxt"))
    return {path.parent.name: text_format.Parse(path.read_text(), schema.ModelConfig()) for path in paths}


def tensors(values: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {value.name: (value.data_type, tuple(value.dims)) for value in values}


@pytest.mark.parametrize("side", ["cpu", "gpu"])
def test_configurations_follow_tritons_schema(repository: Path, schema: Any, side: str) -> None:
    configs = configurations(schema, repository / side)
    served = ["fp16", "fp32", "int8"] + ["bf16"] * (side == "gpu")
    ensembles = {f"once-{precision}" for precision in served}
    assert configs.keys() == {"once-preprocess"} | ensembles | {f"{name}-network" for name in ensembles}
    for name, config in configs.items():
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
            inputs = {key: (value.data_type, tuple(value.dims)) for key, value in warm.inputs.items()}
            assert inputs == tensors(config.input)


@pytest.mark.parametrize("side", ["cpu", "gpu"])
def test_ensembles_lead_from_pixels_to_joints(repository: Path, schema: Any, side: str) -> None:
    configs = configurations(schema, repository / side)
    for config in (config for config in configs.values() if config.platform == "ensemble"):
        known = tensors(config.input)
        for step in config.ensemble_scheduling.step:
            model = configs[step.model_name]
            for inner, outer in step.input_map.items():
                assert tensors(model.input)[inner] == known[outer]
            known |= {outer: tensors(model.output)[inner] for inner, outer in step.output_map.items()}
            assert step.input_map.keys() == tensors(model.input).keys()
        assert tensors(config.output).items() <= known.items()
        assert tensors(config.input) == {"image": (schema.TYPE_UINT8, (256, 256, 3))}
        assert tensors(config.output) == {"joints": (schema.TYPE_FP32, (18, 3))}


@pytest.mark.parametrize("side", ["cpu", "gpu"])
def test_a_proven_uint8_graph_is_served_unchanged(uint8_repository: Path, schema: Any, side: str) -> None:
    """Clients see no difference; an unproven graph is not served, and its precision stays an ensemble."""
    configs = configurations(schema, uint8_repository / side)
    assert configs.keys() == {"once-fp32", "once-preprocess", "once-fp16", "once-fp16-network"}
    assert configs["once-fp32"].backend == ("tensorrt" if side == "gpu" else "onnxruntime")
    assert configs["once-fp16"].platform == "ensemble"
    for name in ("once-fp32", "once-fp16"):
        assert tensors(configs[name].input) == {"image": (schema.TYPE_UINT8, (256, 256, 3))}
        assert tensors(configs[name].output) == {"joints": (schema.TYPE_FP32, (18, 3))}
    readme = (uint8_repository / "README.md").read_text()
    assert "- `once-fp32`: one graph with uint8 input" in readme
    assert "- `once-fp16`: an ensemble of `once-preprocess`" in readme


def test_the_uint8_graph_computes_the_exports_joints(uint8_repository: Path, uint8_export: Path) -> None:
    path = uint8_repository / "cpu/once-fp32/1/model.onnx"
    assert sha256_file(path) == sha256_file(uint8_export / "onnx/once-fp32-pixels.onnx")
    with np.load(uint8_export / "parity/truth.npz") as file:
        images, truth = file["images"][:4], file["truth"][:4]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": images})[0], truth, atol=2e-3)


def test_a_changed_uint8_graph_is_refused(uint8_export: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(uint8_export, tmp_path / "once"))
    rewrite(folder / "onnx/once-fp32-pixels.onnx", flip_last)
    with pytest.raises(BadInput, match=r"once-fp32-pixels\.onnx"):
        write_triton(folder, tmp_path, None, EnginePlan())


def test_planted_mistakes_in_a_configuration_are_noticed(repository: Path, schema: Any) -> None:
    """The schema refuses an unknown field, value and type."""
    text = (repository / "cpu/once-fp16-network/config.pbtxt").read_text()
    for before, after in (("dynamic_batching", "dynamic_batches"), ("KIND_CPU", "KIND_NPU"), ("TYPE_FP32", "FLOAT")):
        assert before in text
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text.replace(before, after), schema.ModelConfig())
    twice = (repository / "cpu/once-fp16/config.pbtxt").read_text() + "dynamic_batching { }\n"
    with pytest.raises(text_format.ParseError):  # an ensemble batches nothing by itself
        text_format.Parse(twice, schema.ModelConfig())


def test_the_onnx_files_agree_with_the_configurations(repository: Path, schema: Any) -> None:
    kinds = {onnx.TensorProto.FLOAT: schema.TYPE_FP32, onnx.TensorProto.UINT8: schema.TYPE_UINT8}
    models = sorted(repository.glob("*/*/1/model.onnx"))
    assert len(models) == 5
    for path in models:
        config = configurations(schema, path.parents[2])[path.parents[1].name]
        graph = onnx.load(path).graph
        for values, declared in ((graph.input, config.input), (graph.output, config.output)):
            shapes = {}
            for value in values:
                batch, *dims = value.type.tensor_type.shape.dim
                assert batch.dim_param
                shapes[value.name] = (kinds[value.type.tensor_type.elem_type], tuple(dim.dim_value for dim in dims))
            assert shapes == tensors(declared)


def test_the_ensemble_computes_the_exports_joints(repository: Path, once_export: Path) -> None:
    with np.load(once_export / "parity/truth.npz") as file:
        images, truth = file["images"][:4], file["truth"][:4]

    def run(path: Path, name: str, value: Any) -> Any:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {name: value})[0]

    image = run(repository / "cpu/once-preprocess/1/model.onnx", "pixels", images)
    np.testing.assert_array_equal(image, normalise(images))
    for precision in ("fp32", "fp16", "int8"):
        path = repository / f"cpu/once-{precision}-network/1/model.onnx"
        assert sha256_file(path) == sha256_file(once_export / f"onnx/once-{precision}.onnx")
        assert np.abs(run(path, "image", image) - truth).mean() < 0.1
    assert normalising_graph(64) != normalising_graph(256)


def plans(
    repository: Path, place: Path, version: str, *arguments: str, **more: str
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Build the plans of a copy with a fake trtexec; return the copy and the finished process."""
    served = Path(shutil.copytree(repository, place / "served"))
    (served / "build-gpu.sh").chmod(0o644)  # as unpacking may leave it
    return served, run_with_trtexec(["sh", served / "build-gpu.sh", *arguments], place, version, **more)


def test_plans_are_built_where_they_are_served(repository: Path, tmp_path: Path) -> None:
    place, run = plans(repository, tmp_path, "110401")
    assert run.returncode == 0, run.stderr
    for precision in ("fp32", "fp16", "bf16", "int8"):
        command = (place / f"gpu/once-{precision}-network/1/model.plan").read_text()
        source = "onnx/once-bf16.onnx" if precision == "bf16" else f"cpu/once-{precision}-network/1/model.onnx"
        assert f"--onnx={source} " in command
        assert "--maxShapes=image:8x3x256x256" in command
        assert "--stronglyTyped" not in command  # 11 has no other networks
        assert "--profilingVerbosity=detailed" in command
        assert "timing" not in command
        assert (place / f"layers/once-{precision}.json").read_text() == command


def test_one_failed_plan_prevents_no_other(repository: Path, tmp_path: Path) -> None:
    place, run = plans(repository, tmp_path, "100300", "fp16", "int8", REFUSED="fp16")
    assert_three_parts(run, 1)
    assert "no engine for fp16;" in run.stderr
    assert [path.parts[-3] for path in place.rglob("model.plan")] == ["once-int8-network"]


@pytest.mark.parametrize(("version", "message"), [("8502", "too old"), ("120000", "does not support this TensorRT")])
def test_no_plan_is_built_by_another_tensorrt(repository: Path, tmp_path: Path, version: str, message: str) -> None:
    place, run = plans(repository, tmp_path, version)
    assert_three_parts(run, 4)
    assert message in run.stderr
    assert not list(place.rglob("model.plan"))


def test_no_plan_is_built_from_a_changed_file(repository: Path, tmp_path: Path) -> None:
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
