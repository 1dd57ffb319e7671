"""The five questions: what to ship, how fast, how accurate and how sure, and what was not tested."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.report.gaps import gaps_of
from bench.report.measurement import Measurement, measurement_of
from bench.report.model_files import read_model_files
from bench.report.recommend import recommend
from bench.report.sections.answers import answers
from bench.report.views import Answer
from export.parity.budgets import WITHIN_ROUNDING
from tests.bench.report.planted import evaluation, measurement, row
from tests.support.planted_bench import Planted
from tests.support.report_folder import USUAL, write_folder

FAST = row("openvino", 5.0, error_mm=0.59)


def five(*measurements: Measurement) -> tuple[Answer, ...]:
    choices = [recommend(of) for of in measurements]
    return answers(choices, gaps_of(choices))


def test_how_accurate_it_is_is_said_by_annotations_and_not_by_the_export_error() -> None:
    """0.59 mm are the distance from the reference model, 36.2 mm that from the annotations."""
    accurate = five(measurement(FAST, evaluations=(evaluation(fp32=-13.8),)))[2]
    assert accurate.text == "36.2 mm MPJPE"
    (error,) = (of for of in accurate.details if "0.59" in of)
    assert error.startswith("export error")


def test_without_an_evaluation_the_accuracy_is_unknown_and_not_good() -> None:
    accurate = five(measurement(FAST))[2]
    assert (accurate.text, accurate.tone) == ("Unknown", "warn")
    assert any("export error" in of for of in accurate.details)


def test_random_weights_are_never_said_to_pass() -> None:
    parity = {
        "outcome": "pass",
        "status": WITHIN_ROUNDING,
        "reason": "",
        "mean_mm": 183.2,
        "max_mm": 300.0,
        "images": 8,
    }
    made = five(measurement(row("openvino", 5.0, parity=parity), weights="stand-in"))
    assert (made[0].tone, made[2].tone) == ("warn", "warn")


@pytest.mark.parametrize("weights", ["checkpoint", "demo", "stand-in"])
def test_what_may_be_shipped_is_one_or_two_sentences_and_the_next_command(tmp_path: Path, weights: str) -> None:
    folder = write_folder(tmp_path / "S", weights=weights, extras=False)
    ship = five(measurement_of(read_model_files(folder), "convnextpose bench"))[0]
    assert ship.text == "openvino int8"
    assert len(re.findall(r"[.!?](?:\s|$)", " ".join(ship.details))) <= 2
    assert ship.command == f"convnextpose bundle {folder} --precision int8"


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
    ship = five(measurement_of(read_model_files(folder), "convnextpose bench"))[0]
    assert ship.text == "Nothing"
    assert ship.command is not None
    assert ship.command.startswith(f"{command} {folder}")


def test_an_interrupted_run_is_less_sure() -> None:
    assert five(measurement(FAST))[3].tone == "good"
    assert five(measurement(FAST, complete=False))[3].tone == "warn"


def test_of_several_devices_each_is_answered_by_itself() -> None:
    lost = measurement(device="lost", missing="no device could do it")
    made = five(measurement(FAST, device="orin"), measurement(row("onnxruntime", 50.0), device="box"), lost)
    assert made[0].details[:2] == ("S on orin: openvino fp32", "S on box: onnxruntime fp32")
    assert "no device could do it" in made[0].details[2]
    assert made[1].details == ("S on orin: 5.00 ms", "S on box: 50.00 ms", "S on lost: Unknown")
    assert {answer.tone for answer in made} == {"warn"}
