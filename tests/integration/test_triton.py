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

import export.engine.choice
from export.bundle.triton import write_triton
from export.common.errors import BadInput
from export.common.files import sha256_file
from export.engine.plan import EnginePlan
from tests.support.bundles import export_once, flip_last, rewrite, run_with_trtexec
from tests.support.command_line import assert_three_parts, in_process

TRITON = "tritonclient==2.73.0"
"""Not installed with the rest: it needs an older ml_dtypes than onnx has. Only its schema is used."""


@pytest.fixture(scope="module")
def uint8_export(once_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export with uint8 graphs in every precision."""
    place = Path(shutil.copytree(once_export.parents[1], tmp_path_factory.mktemp("uint8") / "once"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.engine.choice, "find_spec", lambda name: None)  # no test asks for its engines
        return export_once(place, "--with-preprocess")


@pytest.fixture(scope="module")
def repository(uint8_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_triton(uint8_export, tmp_path_factory.mktemp("triton"), None, EnginePlan()).folder


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return Triton's model_config as protobuf messages, from its client's wheel."""
    folder = tmp_path_factory.mktemp("tritonclient")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", str(folder), TRITON]
    run = subprocess.run([sys.executable, *install], capture_output=True, text=True, check=False)
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
    assert configs.keys() == {f"once-{precision}" for precision in served}
    for name, config in configs.items():
        assert config.name == name
        assert config.max_batch_size == 8
        assert (repository / side / name / "1").is_dir()
        assert config.HasField("dynamic_batching")
        assert config.dynamic_batching.max_queue_delay_microseconds > 0
        on_gpu = side == "gpu"
        assert config.backend == ("tensorrt" if on_gpu else "onnxruntime")
        [group] = config.instance_group
        assert group.kind == (group.KIND_GPU if on_gpu else group.KIND_CPU)
        assert [warm.batch_size for warm in config.model_warmup] == [1, 8]
        for warm in config.model_warmup:
            inputs = {key: (value.data_type, tuple(value.dims)) for key, value in warm.inputs.items()}
            assert inputs == tensors(config.input)
        assert tensors(config.input) == {"image": (schema.TYPE_UINT8, (256, 256, 3))}
        assert tensors(config.output) == {"joints": (schema.TYPE_FP32, (18, 3))}


def test_the_models_compute_the_exports_joints(repository: Path, uint8_export: Path) -> None:
    with np.load(uint8_export / "parity/truth.npz") as file:
        images, truth = file["images"][:4], file["truth"][:4]
    for precision in ("fp32", "fp16", "int8"):
        path = repository / f"cpu/once-{precision}/1/model.onnx"
        assert sha256_file(path) == sha256_file(uint8_export / f"onnx/once-{precision}-pixels.onnx")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert np.abs(session.run(None, {"image": images})[0] - truth).mean() < 0.1


def test_an_export_without_proven_uint8_graphs_is_refused(
    once_export: Path, uint8_export: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="--with-preprocess"):
        write_triton(once_export, tmp_path, None, EnginePlan())
    folder = Path(shutil.copytree(uint8_export, tmp_path / "once"))
    manifest = json.loads((folder / "manifest.json").read_text())
    [half] = [a for a in manifest["artifacts"] if a["path"] == "onnx/once-fp16-pixels.onnx"]
    half["status"] = "parity fail"
    rewrite(folder / "manifest.json", lambda _: json.dumps(manifest).encode())
    with pytest.raises(BadInput, match="no proven one of fp16"):
        write_triton(folder, tmp_path, None, EnginePlan())


def test_a_changed_uint8_graph_is_refused(uint8_export: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(uint8_export, tmp_path / "once"))
    rewrite(folder / "onnx/once-fp32-pixels.onnx", flip_last)
    with pytest.raises(BadInput, match=r"once-fp32-pixels\.onnx"):
        write_triton(folder, tmp_path, None, EnginePlan())


def test_planted_mistakes_in_a_configuration_are_noticed(repository: Path, schema: Any) -> None:
    """The schema refuses an unknown field, value and type."""
    text = (repository / "cpu/once-fp16/config.pbtxt").read_text()
    for before, after in (("dynamic_batching", "dynamic_batches"), ("KIND_CPU", "KIND_NPU"), ("TYPE_FP32", "FLOAT")):
        assert before in text
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text.replace(before, after), schema.ModelConfig())


def test_the_onnx_files_agree_with_the_configurations(repository: Path, schema: Any) -> None:
    kinds = {onnx.TensorProto.FLOAT: schema.TYPE_FP32, onnx.TensorProto.UINT8: schema.TYPE_UINT8}
    models = sorted(repository.glob("*/*/1/model.onnx"))
    assert len(models) == 3
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
        command = (place / f"gpu/once-{precision}/1/model.plan").read_text()
        source = "onnx/once-bf16-pixels.onnx" if precision == "bf16" else f"cpu/once-{precision}/1/model.onnx"
        assert f"--onnx={source} " in command
        assert "--maxShapes=image:8x256x256x3" in command
        assert "--stronglyTyped" not in command  # 11 has no other networks
        assert "--profilingVerbosity=detailed" in command
        assert "timing" not in command
        assert (place / f"layers/once-{precision}.json").read_text() == command


def test_one_failed_plan_prevents_no_other(repository: Path, tmp_path: Path) -> None:
    place, run = plans(repository, tmp_path, "100300", "fp16", "int8", REFUSED="fp16")
    assert_three_parts(run, 1)
    assert "no engine for fp16;" in run.stderr
    assert [path.parts[-3] for path in place.rglob("model.plan")] == ["once-int8"]


@pytest.mark.parametrize(("version", "message"), [("8502", "too old"), ("120000", "does not support this TensorRT")])
def test_no_plan_is_built_by_another_tensorrt(repository: Path, tmp_path: Path, version: str, message: str) -> None:
    place, run = plans(repository, tmp_path, version)
    assert_three_parts(run, 4)
    assert message in run.stderr
    assert not list(place.rglob("model.plan"))


def test_no_plan_is_built_from_a_changed_file(repository: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(repository, tmp_path / "changed"))
    rewrite(changed / "onnx/once-bf16-pixels.onnx", flip_last)
    place, run = plans(changed, tmp_path, "100300")
    assert run.returncode != 0
    assert not list(place.rglob("model.plan"))


def test_the_command(uint8_export: Path, tmp_path: Path) -> None:
    options = ("--format", "triton", "--precision", "fp32", "--out", "out")
    run = in_process("bundle", uint8_export, *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "once-fp32" in run.stdout
    assert (tmp_path / "out/once-triton/cpu/once-fp32/1/model.onnx").is_file()
    again = in_process("bundle", uint8_export, *options, cwd=tmp_path)
    assert again.returncode == 0, again.stderr  # its own is replaced
    (tmp_path / "out/once-triton/about.json").unlink()
    assert_three_parts(in_process("bundle", uint8_export, *options, cwd=tmp_path), 2)
    with pytest.raises(BadInput):
        write_triton(tmp_path, tmp_path, None, EnginePlan())
