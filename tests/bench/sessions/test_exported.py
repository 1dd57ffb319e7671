"""The engine of an exported folder, and reasons why there is none."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bench.sessions.exported import load_session, read_export
from export.common.errors import BadInput, NotPossible
from export.common.files import sha256_file, write_image
from export.pipeline.manifest import NotRun, write_manifest
from export.runtime.engine_file import TENSORRT
from tests.export.pipeline.test_recipe import manifest
from tests.support.command_line import assert_three_parts, in_process
from tests.support.engines import artifact_entry, overwrite, without_gpu, write_engine


@pytest.fixture
def folder(real: Path, tmp_path: Path) -> Path:
    """An exported model with one ONNX file and its TensorRT-RTX engine."""
    for name, target in (
        ("tiny.onnx", "onnx/L-fp32.onnx"),
        *((f"tiny.rtx.engine{end}", f"engines/L-fp32.rtx.engine{end}") for end in ("", ".json")),
    ):
        (tmp_path / target).parent.mkdir(exist_ok=True)
        (tmp_path / target).write_bytes((real / name).read_bytes())
    write_manifest(
        tmp_path, manifest(artifact_entry(tmp_path, "onnx", "onnx"), artifact_entry(tmp_path, "engine", "tensorrt_rtx"))
    )
    return tmp_path


@without_gpu
def test_the_manifests_engine_is_opened(folder: Path) -> None:
    with pytest.raises(NotPossible, match="engines run on an NVIDIA GPU only"):
        load_session(read_export(folder), "tensorrt-rtx", "fp32")


@pytest.mark.parametrize(
    ("runtime", "precision", "message"),
    [
        ("tensorrt", "fp32", r"no fp32 engine for TensorRT — no engines/L-fp32\.trt\.engine.*recipe\.md"),
        ("tensorrt-rtx", "fp16", "no fp16 ONNX file"),
        ("tensorrt_rtx", "fp32", "choose of onnxruntime, openvino, .*tensorrt, tensorrt-rtx"),
    ],
)
def test_engines_that_are_not_there(folder: Path, runtime: str, precision: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_session(read_export(folder), runtime, precision)


def test_why_there_is_no_engine_is_told(folder: Path) -> None:
    read = read_export(folder).manifest
    why = NotRun(kind="engine", precision="fp32", status="not run", reason="planted reason")
    write_manifest(folder, read.model_copy(update={"not_run": [why]}))
    with pytest.raises(BadInput, match="planted reason"):
        load_session(read_export(folder), "tensorrt", "fp32")


def test_an_engine_that_is_not_the_manifests(folder: Path) -> None:
    overwrite(folder / "engines/L-fp32.rtx.engine", 100, b"changed")
    with pytest.raises(BadInput, match="does not match the manifest"):
        load_session(read_export(folder), "tensorrt-rtx", "fp32")


def test_an_engine_built_by_the_recipe(folder: Path) -> None:
    """It is not in the manifest; its record says which ONNX file it was built from."""
    exported, path = read_export(folder), folder / "engines/L-fp32.trt.engine"
    write_engine(path, TENSORRT, onnx_sha256=sha256_file(folder / "onnx/L-fp32.onnx"))
    assert exported.engine("fp32", TENSORRT) == path
    write_engine(path, TENSORRT, onnx_sha256="0" * 64)
    with pytest.raises(BadInput, match="built from another model"):
        load_session(exported, "tensorrt", "fp32")


@pytest.mark.parametrize(("runtime", "exit_code"), [("tensorrt", 2), ("tensorrt-rtx", 4)])
@without_gpu
def test_the_command_ends_in_three_parts(tmp_path: Path, demo_export: Path, runtime: str, exit_code: int) -> None:
    """Exit code 2: there is no such engine; 4: there is one, but no GPU."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    write_image(tmp_path / "photo.png", np.zeros((64, 64, 3), np.uint8))
    out = tmp_path / "pose.png"
    run = in_process("predict", demo_export, "photo.png", "--runtime", runtime, "--out", out, cwd=tmp_path)
    assert_three_parts(run, exit_code)
    assert not out.exists()
