"""``convnextpose evaluate``: drawn figures, photographs, and refusals."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.human36m import ACTIONS
from tests.support.command_line import assert_three_parts, in_process
from tests.support.tiny_datasets import write_coco, write_human36m

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def demo_export(demo_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: results are written into it."""
    return Path(shutil.copytree(demo_export, tmp_path_factory.mktemp("evaluate") / "XS-atto"))


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return lambda *args: in_process("evaluate", *args, cwd=tmp_path)


def test_fp32_onnx_has_the_accuracy_of_the_reference(call: Call, demo_export: Path) -> None:
    run = call(demo_export, "--count", 8, "--json")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    reference, onnx = record["contenders"]
    assert reference["reference"]
    assert (reference["runtime"], onnx["runtime"]) == ("pytorch", "ONNX Runtime")
    assert 10 < reference["mpjpe_mm"] < 60
    assert abs(onnx["mpjpe_mm"] - reference["mpjpe_mm"]) < 0.01
    assert abs(onnx["price_mm"]["mean"]) < 0.01
    assert onnx["drift_mm"]["max"] < 0.1
    assert record["weights"]["origin"] == "demo"
    assert json.loads((demo_export / "accuracy/drawn.json").read_text()) == record
    assert not list((demo_export / "accuracy").glob(".*"))


def test_unusable_sums_of_a_stopped_run_are_reported(call: Call, demo_export: Path) -> None:
    (demo_export / "accuracy").mkdir(exist_ok=True)
    (demo_export / "accuracy/.drawn.npz").write_bytes(b"")
    run = call(demo_export, "--count", 2, "--no-reference")
    assert run.returncode == 0
    assert "starting again" in run.stderr
    assert "starting again" not in call(demo_export, "--count", 2, "--no-reference").stderr


@pytest.mark.parametrize(
    ("options", "name", "samples", "published"),
    [
        (("--dataset", "human36m"), "human36m-p2-data", 60, [{"source": "paper", "mpjpe_mm": "56.61"}]),
        (("--dataset", "human36m", "--protocol", 1), "human36m-p1-data", 30, []),
        (("--dataset", "coco"), "coco-data", None, []),
    ],
)
def test_photographs_are_evaluated_as_the_released_code_does(
    call: Call,
    tmp_path: Path,
    demo_export: Path,
    options: tuple[str, ...],
    name: str,
    samples: int | None,
    published: list[Any],
) -> None:
    """The demo checkpoint was not trained on these images: this test only checks that everything runs."""
    write = write_coco if "coco" in options else write_human36m
    write(tmp_path / "data")
    run = call(demo_export, *options, "--data", tmp_path / "data", "--json", "--no-reference")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    [report] = (demo_export / "accuracy").glob(f"{name}-????????.json")
    assert json.loads(report.read_text()) == record
    [row] = record["contenders"]
    assert record["flip"] is False  # the demo's figures have coloured sides
    assert record["published"] == published
    if samples is not None:
        assert record["dataset"]["samples"] == samples
        assert list(row["groups"]) == sorted(ACTIONS)
        assert row["mpjpe_mm"] > row["pa_mpjpe_mm"] > 50
        assert len(record["counted_joints"]) == 17
    assert row["error_px"] > 1


def test_two_datasets_of_one_name_keep_both_evaluations(call: Call, tmp_path: Path, demo_export: Path) -> None:
    for place, in_mm in (("one", True), ("two", False)):
        write_coco(tmp_path / place / "people", in_mm=in_mm)
        run = call(demo_export, "--dataset", "coco", "--data", tmp_path / place / "people", "--no-reference")
        assert run.returncode == 0, run.stderr
    reports = [json.loads(path.read_text()) for path in (demo_export / "accuracy").glob("coco-people-*.json")]
    assert len({report["dataset"]["name"] for report in reports}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        ("--dataset", "imagenet"),
        ("--dataset", "coco"),
        ("--dataset", "drawn", "--data", "."),
        ("--dataset", "human36m", "--data", "."),
        ("--flip",),
        ("--precision", ""),
        ("--batch", "0"),
    ],
)
def test_impossible_options_are_refused(call: Call, demo_export: Path, wrong: tuple[str, ...]) -> None:
    run = call(demo_export, *wrong)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_a_folder_without_an_export_is_refused(call: Call, tmp_path: Path) -> None:
    assert_three_parts(call(tmp_path), 2)
