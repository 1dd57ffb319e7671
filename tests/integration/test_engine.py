"""``convnextpose engine``: one ONNX file, its engine beside it, or a reason."""

import json
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.command_line import assert_three_parts, in_process
from tests.support.small_networks import int8_network

pytest.importorskip("tensorrt_rtx")
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return lambda *args: in_process("engine", *args, cwd=tmp_path)


def test_an_engine_its_record_and_its_log_lie_beside_each_other(
    call: Call, tmp_path: Path, typed_files: dict[str, Path]
) -> None:
    run = call(typed_files["fp16"], "--out", "tiny.engine", "--targets", "8.6")
    assert run.returncode == 0, run.stderr
    assert "fp16" in run.stdout
    assert "not run" in run.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.engine", "tiny.engine.json", "tiny.engine.log"]


@pytest.mark.parametrize(
    "options",
    [
        ("--precision", "fp32"),
        ("--precision", "fp64"),
        ("--precision", "fp16", "--batches", "4,2,1"),
        ("--workspace-mib", "0"),
        ("--precision", "fp16", "--engine-runtime", "tensorrt_rtx"),
        ("--precision", "fp16", "--tf32"),
        ("--precision", "fp16", "--optimization-level", "6"),
        ("--precision", "int8", "--targets", "7.5"),
    ],
)
def test_what_cannot_be_meant_is_refused(call: Call, typed_files: dict[str, Path], options: tuple[str, ...]) -> None:
    assert_three_parts(call(typed_files["fp16"], "--out", "x.engine", *options), 2)


IGNORED = ["--hardware-compatible", "--version-compatible", "--optimization-level=4"]


@pytest.mark.parametrize("option", IGNORED)
@pytest.mark.parametrize("command", [("export", "XS-atto"), ("engine", "fp32.onnx")])
def test_what_the_builder_would_ignore_is_refused_at_once(
    tmp_path: Path, option: str, command: tuple[str, str]
) -> None:
    run = in_process(*command, "--engine-runtime", "tensorrt-rtx", option, cwd=tmp_path)
    assert_three_parts(run, 2)
    assert option.split("=")[0] in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_engine_may_multiply_in_tf32(call: Call, tmp_path: Path, typed_files: dict[str, Path]) -> None:
    run = call(typed_files["fp32"], "--engine-runtime", "tensorrt-rtx", "--tf32", "--out", "e")
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "e.json").read_text())
    assert (record["tf32"], record["runtime"]) == (True, "tensorrt_rtx")
    assert record["chosen"] == "tensorrt-rtx was asked for; tensorrt_rtx is installed"


def test_a_promise_that_is_not_kept_ends_with_1(call: Call, tmp_path: Path) -> None:
    (tmp_path / "int8.onnx").write_bytes(int8_network(weight=False))
    run = call("int8.onnx", "--precision", "int8", "--engine-runtime", "tensorrt-rtx")
    assert_three_parts(run, 1)
    assert "says int8 and convolves" in run.stderr


def test_a_runtime_that_cannot_build_here_ends_with_4(call: Call, typed_files: dict[str, Path]) -> None:
    if find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed")
    assert_three_parts(call(typed_files["fp32"], "--engine-runtime", "tensorrt", "--out", "e"), 4)


def test_a_file_that_is_not_there_is_refused(call: Call) -> None:
    assert_three_parts(call("nowhere.onnx"), 2)
