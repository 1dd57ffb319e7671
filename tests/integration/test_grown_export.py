"""A declared model without a checkpoint is exported with weights grown from the demo checkpoint, and says so."""

import json
from pathlib import Path

import onnx
import pytest

from cli.console import ConsoleObserver
from export.common.files import PROJECT, sha256_file
from export.model.config import load_config
from export.model.weights_file import load_network
from export.pipeline.layout import STEP_RECORDS, WEIGHTS
from export.pipeline.manifest import read_manifest
from export.pipeline.reference_steps import describe_weights, weights_step
from export.pipeline.request import ExportRequest
from export.pipeline.steps import Folder
from tests.support.checkpoints import declared
from tests.support.command_line import assert_three_parts, in_process

DEMO = PROJECT / "demo/XS-atto-demo.pth"
GROWN = "weights: demo — grown from XS-atto"


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    """A folder with the declaration of a model with one block more than the demo checkpoint's, and more channels."""
    fields = load_config("XS-atto").model_dump(mode="json", exclude={"claims", "demo", "demo_head", "files"})
    fields |= {"name": "more", "backbone": "more", "depths": [3, 2, 6, 2], "dims": [44, 80, 160, 320]}
    (tmp_path / "more.yaml").write_text(json.dumps(fields | {"grown_from": "XS-atto"}))  # JSON is YAML
    return tmp_path


def test_an_export_of_a_grown_model_says_so(grown: Path) -> None:
    run = in_process("export", "more.yaml", cwd=grown)
    assert run.returncode == 0, run.stderr
    assert GROWN in run.stderr
    decision = next(line for line in run.stdout.splitlines() if line.startswith("more:"))
    assert "weights: demo, grown from XS-atto" in decision
    made = read_manifest(grown / "build/more/manifest.json")
    assert (made.weights.origin, made.weights.path) == ("demo", "demo/XS-atto-demo.pth")
    assert (made.weights.grown_from, made.weights.sha256) == ("XS-atto", sha256_file(DEMO))
    assert [result.outcome for result in made.parity] == ["pass"]
    assert made.parity[0].budget.grade == "exact"
    model = onnx.load(grown / "build/more/onnx/more-fp32.onnx")
    assert {entry.key: entry.value for entry in model.metadata_props}["weights_origin"] == "demo"


@pytest.mark.parametrize(
    ("arguments", "origin"),
    [
        (("S",), GROWN),
        (("L",), GROWN),
        (("L", "--set", "upsamplings=2"), GROWN),
        (("L", "--set", "joints=21"), "weights: stand-in"),
        (("XS-atto",), "weights: demo — trained on drawn figures"),
        (("S", "--checkpoint", DEMO), "XS-atto-demo.pth"),
    ],
    ids=str,
)
def test_the_first_lines_tell_the_origin(tmp_path: Path, arguments: tuple[str, ...], origin: str) -> None:
    run = in_process("export", *arguments, "--why", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert origin in run.stderr


def test_strict_asks_for_a_checkpoint(tmp_path: Path) -> None:
    assert_three_parts(in_process("export", "S", "--strict", cwd=tmp_path), 2)


def test_the_weights_step_depends_on_checkpoint_and_head(tmp_path: Path) -> None:
    request = ExportRequest(load_config("M"), None, {})
    folder = Folder(tmp_path / "M", ConsoleObserver())
    with folder.locked():
        made = weights_step(folder, request)
        assert load_network(folder.path / WEIGHTS).architecture == declared("M")
        assert describe_weights(request, made)["weights_sha256"] == sha256_file(DEMO)
        assert made.get().dtypes == ("float16",)
        key = json.loads((folder.path / STEP_RECORDS / "weights.json").read_text())["key"]
    assert request.growth is not None
    assert request.growth.head is not None
    assert key["inputs"] == {"checkpoint": sha256_file(DEMO), "head": sha256_file(request.growth.head)}
