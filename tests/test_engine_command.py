"""``convnextpose engine``: one ONNX file, its engine beside it, or a reason."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.command_line import assert_three_parts, convnextpose_here

pytest.importorskip("tensorrt_rtx")
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    return lambda *args: convnextpose_here(monkeypatch, capsys, "engine", *args, cwd=tmp_path)


def test_an_engine_its_record_and_its_log_lie_beside_each_other(
    call: Call, tmp_path: Path, typed_files: dict[str, Path]
) -> None:
    run = call(typed_files["fp16"], "--precision", "fp16", "--out", "tiny.engine", "--targets", "8.6")
    assert run.returncode == 0, run.stderr
    assert "fp16" in run.stdout
    assert "not run" in run.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.engine", "tiny.engine.json", "tiny.engine.log"]


def test_every_node_that_the_builder_does_not_know_is_named(call: Call, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Foo", ["image"], ["a"], "first", domain="elsewhere"),
        helper.make_node("Relu", ["a"], ["b"], "known"),
        helper.make_node("Bar", ["b"], ["joints"], "second", domain="elsewhere"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 256, 256])
    joints = helper.make_tensor_value_info("joints", TensorProto.FLOAT, ["batch", 18, 3])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("elsewhere", 1)]
    graph = helper.make_graph(nodes, "odd", [image], [joints])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "odd.onnx")
    run = call("odd.onnx")
    assert_three_parts(run, 2)
    assert "first" in run.stderr
    assert "second" in run.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["odd.onnx"]


@pytest.mark.parametrize(
    "options", [(), ("--precision", "fp64"), ("--precision", "fp16", "--batches", "4,2,1"), ("--workspace-mib", "0")]
)
def test_what_cannot_be_meant_is_refused(call: Call, typed_files: dict[str, Path], options: tuple[str, ...]) -> None:
    assert_three_parts(call(typed_files["fp16"], "--out", "x.engine", *options), 2)


@pytest.mark.parametrize("option", ["--hardware-compatible", "--version-compatible"])
def test_an_export_refuses_what_its_builder_would_ignore_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    run = convnextpose_here(monkeypatch, capsys, "export", "XS-atto", option, cwd=tmp_path)
    assert_three_parts(run, 2)
    assert "compatible engine" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_refused(call: Call) -> None:
    assert_three_parts(call("nowhere.onnx"), 2)
