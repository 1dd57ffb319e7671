"""Test the head of a page and its cards: what to ship, how fast, how wrong, how sure, and what was not tested."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.report.gaps import gaps_of
from bench.report.measurement import Measurement, measurement_of
from bench.report.model_files import read_model_files
from bench.report.recommend import recommend
from bench.report.sections.answers import answers, head
from bench.report.views import Answer, Head
from export.parity.budgets import WITHIN_ROUNDING
from tests.bench.report.planted import control, evaluation, measurement, row
from tests.support.planted_bench import Planted
from tests.support.report_folder import USUAL, write_folder

FAST = row("openvino", 5.0, error_mm=0.59)


def cards(of: Measurement) -> tuple[Answer, ...]:
    choice = recommend(of)
    return answers(choice, gaps_of([choice]))


def head_of(*measurements: Measurement) -> Head:
    return head([recommend(of) for of in measurements], "convnextpose bench build/S")


@pytest.mark.parametrize(
    ("loss_mm", "error"),
    [(0.01, "export adds 0.01 mm to an error of 50 mm"), (-0.02, "export takes 0.02 mm off an error of 50 mm")],
)
def test_head_says_what_to_ship_how_fast_how_wrong_and_how_sure(loss_mm: float, error: str) -> None:
    found = head_of(measurement(FAST, evaluations=(evaluation(fp32=loss_mm),), control=control(0.99, 1.01)))
    assert found.text == f"Ship OpenVINO FP32: 5.00 ms, 4.0× PyTorch FP32; {error}. Confidence: high (±1.5 %)."
    assert found.tone == "good"


@pytest.mark.parametrize(
    ("planted", "changes", "confidence"),
    [
        (FAST, {}, "high (±0.5 %)"),
        (row("openvino", 5.0, verdict="noisy", half_width=0.02), {}, "medium (±2.0 %)"),
        (FAST, {"complete": False}, "low (±0.5 %)"),
    ],
)
def test_confidence_follows_from_the_quality_of_the_row(
    planted: object, changes: dict[str, bool], confidence: str
) -> None:
    assert f"Confidence: {confidence}." in head_of(measurement(planted, **changes)).text  # type: ignore[arg-type]


def test_error_is_that_against_annotations_and_not_the_export_error() -> None:
    """0.59 mm are the distance from the reference model, 36.2 mm that from the annotations."""
    wrong = cards(measurement(FAST, evaluations=(evaluation(fp32=-13.8),)))[1]
    assert (wrong.text, wrong.tone) == ("36.2 mm MPJPE", "")
    (error,) = (of for of in wrong.details if "0.59" in of)
    assert error.startswith("export error")


def test_without_an_evaluation_the_error_is_unknown_and_not_good() -> None:
    wrong = cards(measurement(FAST))[1]
    assert (wrong.text, wrong.tone) == ("Unknown", "warn")
    assert any("export error" in of for of in wrong.details)
    assert "pose error unknown, export error 0.59 mm" in head_of(measurement(FAST)).text


def test_random_weights_are_never_said_to_pass() -> None:
    parity = {"outcome": "pass", "status": WITHIN_ROUNDING, "reason": "", "mean_mm": 183.2, "max_mm": 300.0}
    of = measurement(row("openvino", 5.0, parity=parity), weights="stand-in")
    assert (head_of(of).tone, cards(of)[1].tone) == ("warn", "warn")
    assert "183" not in head_of(of).text


@pytest.mark.parametrize("weights", ["checkpoint", "demo", "stand-in"])
def test_head_has_the_file_to_copy_and_the_commands(tmp_path: Path, weights: str) -> None:
    folder = write_folder(tmp_path / "S", weights=weights, extras=False)
    found = head_of(measurement_of(read_model_files(folder), "convnextpose bench"))
    assert len(re.findall(r"[.!?](?:\s|$)", found.text)) == 2
    assert dict(found.steps) == {
        "Copy": f"{folder}/onnx/S-int8.onnx (3.8 MB)",
        "Next": f"convnextpose bundle {folder} --precision int8",
        "Reproduce": "convnextpose bench build/S",
    }


@pytest.mark.parametrize(
    ("planted", "command"),
    [
        ([of for of in USUAL if of.precision == "int8"], "convnextpose evaluate"),
        ([replace(of, noise=0.3) for of in USUAL[2:4]], "convnextpose bench"),
    ],
)
def test_where_nothing_may_be_shipped_the_next_command_measures_what_is_open(
    tmp_path: Path, planted: list[Planted], command: str
) -> None:
    folder = write_folder(tmp_path / "S", planted, extras=False, evaluated=False)
    found = head_of(measurement_of(read_model_files(folder), "convnextpose bench"))
    assert found.text.startswith("Ship nothing yet")
    assert dict(found.steps)["Next"].startswith(f"{command} {folder}")


def test_head_of_several_devices_names_each_by_itself() -> None:
    lost = measurement(device="lost", missing="no device could do it")
    slow = measurement(row("onnxruntime", 50.0), device="box")
    found = head_of(measurement(FAST, device="orin"), slow, measurement(FAST, device="nano"), lost)
    assert found.text == (
        "Ship OpenVINO FP32 for S on orin, S on nano; ONNX Runtime FP32 for S on box; nothing for S on lost."
    )
    assert found.tone == "warn"
