"""The files of a report: what lies beside the page, and what is escaped in all of them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from bench.report.measurement import Measurement, measurement_of
from bench.report.model_files import read_model_files
from bench.report.pages import models_page
from bench.report.rows import name_of
from bench.report.write import write_reports
from export.common.errors import BadInput
from tests.support.command_line import ROOT
from tests.support.report_folder import USUAL, write_folder


def measured(folder: Path) -> Measurement:
    return measurement_of(read_model_files(folder), "convnextpose bench")


def test_accuracy_is_that_of_the_same_runtime_and_never_of_a_simulation(tmp_path: Path) -> None:
    of = measured(write_folder(tmp_path / "S", extras=False))
    seen = {name_of(row): [found.mpjpe_mm for found in of.accuracy_of(row)] for row in of.rows}
    assert (seen["openvino int8"], seen["onnxruntime int8"]) == ([52.4], [52.5])
    assert seen["openvino fp16"] == [52.01]  # only ONNX Runtime was evaluated on it
    assert seen["pytorch fp32"] == [52.0]


def test_markdown_has_the_head_and_the_six_columns(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:3])
    write_reports([folder])
    text = (folder / "report/report.md").read_text()
    assert text.startswith("# Ship OpenVINO FP32: ")
    assert f"- Next: `convnextpose bundle {folder}" in text
    assert "| row | MPJPE (mm) | p50 (ms) | p99 (ms) | speed-up | memory (MiB) |" in text


def test_what_is_written_twice_is_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:2])
    texts = []
    for _ in range(2):
        write_reports([folder])
        texts.append([(path.name, path.read_bytes()) for path in sorted((folder / "report").iterdir())])
    assert texts[0] == texts[1]


def test_a_line_of_a_table_stays_one_whatever_names_hold(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:2], model="a|b\n*c*", extras=False)
    write_reports([folder])
    lines = (folder / "report/report.md").read_text().split("## Every row")[1].split("##")[0].splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}) == 1


def test_two_exports_of_one_model_are_called_by_their_folders(tmp_path: Path) -> None:
    folders = [write_folder(tmp_path / name / "S", USUAL[:2], extras=False) for name in ("a", "b")]
    _, choices = models_page(list(map(measured, folders)))
    assert [choice.measurement.model for choice in choices] == [f"S ({folder})" for folder in folders]


def test_one_out_for_several_pages_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "build/S", USUAL[:2], extras=False)
    (tmp_path / "build/fleet/spring").mkdir(parents=True)
    (tmp_path / "build/fleet/spring/fleet.json").write_text(json.dumps({}))
    with pytest.raises(BadInput, match="one --out"):
        write_reports([tmp_path / "build"], tmp_path / "out")


@pytest.mark.parametrize(
    ("variables", "reported"),
    [
        ((), '"build"'),
        (("MODEL=S", "OUT=out"), '"out/S"'),
        (("MODELS=XS-atto,S",), '"build/XS-atto" "build/S"'),
        (("MODEL=S", "GATE=gate.json"), '"build/S" --gate "gate.json"'),
    ],
)
def test_make_names_the_folders(variables: tuple[str, ...], reported: str) -> None:
    command = ["make", "--dry-run", "--old-file", ".venv/.ready", "report", *variables]
    outside = {name: of for name, of in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    done = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
    assert " ".join(done.stdout.replace("\\\n", "").split()) == f".venv/bin/convnextpose report {reported}"
