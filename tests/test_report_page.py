"""What a page says, in which order, and what it must never say; and the files beside it."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.report.badge import badge
from bench.report.from_export import read_subject
from bench.report.junit import junit
from bench.report.markdown import markdown
from bench.report.one_model import page_of
from bench.report.page import html
from bench.report.recommend import Recommendation
from bench.report.records import SIMULATED
from bench.report.subject import Gate, GateCell, SpeedUp, Subject
from bench.report.table_csv import report_csv
from bench.report.views import Page, Section
from bench.report.write import LARGEST_BYTES, Report, write_reports
from export.artifacts import PARTIAL_PREFIX
from export.errors import BadInput
from export.parity import EXPLAINED
from export.parity_sessions import SIMULATION
from tests.command_line import ROOT, assert_three_parts, convnextpose
from tests.report_folder import USUAL, Planted, write_folder

HOSTILE = "<script>alert(1)</script>|`*](x) \x1b[31m\x00\n"
UNSTABLE = Planted("onnxruntime", "fp16", 1.0, noise=0.3)
INVALID = Planted("onnxruntime", "bf16", 1.0, faults=("parity fail: 7 mm",), outcome="fail", drift_mm=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("report") / "S", (*USUAL, UNSTABLE, INVALID))


@pytest.fixture(scope="module")
def subject(folder: Path) -> Subject:
    return read_subject(folder)


@pytest.fixture(scope="module")
def page(subject: Subject) -> Page:
    return page_of(subject)[0]


@pytest.fixture(scope="module")
def found(subject: Subject) -> Recommendation:
    return page_of(subject)[1]


def of_models(*arguments: Any) -> Report:
    """What was written about models."""
    made = write_reports(*arguments)
    assert made.models is not None
    return made.models


def section(page: Page, identity: str) -> Section:
    return next(of for of in page.sections if of.id == identity)


def test_the_five_questions_are_answered_first(page: Page) -> None:
    assert [(of.question, of.text) for of in page.answers[:4]] == [
        ("What do I ship?", "openvino int8"),
        ("How fast is it?", "2.39 ms"),
        ("How wrong is it?", "2 mm from the truth"),
        ("How sure is that?", "stable"),
    ]
    assert page.answers[4].question == "What was not tested?"
    assert "onnx/S-int8.onnx, 3.8 MB" in page.answers[0].details
    assert any("later than 16.7 ms" in text for text in page.answers[1].details)
    (said,) = (text for text in page.answers[2].details if text.startswith("MPJPE"))
    assert said.startswith("MPJPE 52.4 mm on 2,000 samples of Human3.6M, protocol 2, +0.50 mm beyond the reference")


def test_accuracy_is_that_of_the_same_runtime_and_never_of_a_simulation(subject: Subject) -> None:
    seen = {row.name: [of.mpjpe_mm for of in row.accuracy] for row in subject.rows}
    assert (seen["openvino int8"], seen["onnxruntime int8"]) == ([52.4], [52.5])
    assert seen["openvino fp16"] == [52.01]  # only ONNX Runtime was evaluated on it
    assert seen["pytorch fp32"] == [52.0]
    assert SIMULATION.name == SIMULATED


def test_sections_stand_in_the_order_in_which_a_reader_needs_them(page: Page) -> None:
    assert [of.id for of in page.sections] == [
        *("decision", "pareto", "speed-up", "tail", "trace", "throughput", "photo", "parts", "joints"),
        *("architecture", "files", "untested", "environment", "reproduce"),
    ]


def test_unstable_and_invalid_rows_are_greyed_with_their_reason_and_never_ranked(page: Page) -> None:
    table = section(page, "decision").tables[0]
    lines = {line.cells[0].text: (line, dict(zip(table.columns, line.cells, strict=True))) for line in table.lines}
    unstable, cells = lines["onnxruntime fp16"]
    assert (unstable.standing, cells["verdict"].text, cells["speed-up"].text) == ("greyed", "unstable", "–")
    assert "known to" in cells["verdict"].note
    assert re.fullmatch(r"\d\.\d\d to \d\.\d\d", cells["p50, ms"].text)
    invalid, cells = lines["onnxruntime bf16"]
    assert (invalid.standing, cells["verdict"].note, cells["p50, ms"].text) == ("greyed", "parity fail: 7 mm", "–")
    assert lines["openvino int8"][0].standing == "chosen"
    assert unstable.cells[table.columns.index("images/s")].text == "n/a"
    for identity in ("pareto", "speed-up", "tail", "throughput"):
        for figure in section(page, identity).figures:
            assert "onnxruntime fp16" not in json.dumps(figure.spec)
            assert "onnxruntime bf16" not in json.dumps(figure.spec)


def test_every_timing_says_how_many_calls_it_is_of(page: Page) -> None:
    table = section(page, "decision").tables[0]
    assert "host_e2e" in table.caption
    for line in table.lines:
        for column, cell in zip(table.columns, line.cells, strict=True):
            if column.startswith(("p50", "p90", "p99", "later")) and cell.text != "–":
                assert "720 calls" in cell.note


def test_the_way_from_a_photo_is_told_by_its_stages(page: Page) -> None:
    (table,) = section(page, "photo").tables
    lines = {line.cells[0].text: line for line in table.lines}
    assert [cell.text for cell in lines["openvino int8"].cells[1:]] == ["8.40", "0.10", "0.25", "8.00", "0.05", "90"]
    assert lines["onnxruntime fp16"].standing == "greyed"
    assert "onnxruntime bf16" not in lines
    assert "1280×720" in section(page, "photo").lead[0]


def test_launches_stand_beside_the_intervals_that_do_not_know_of_them(page: Page, tmp_path: Path) -> None:
    (table,) = section(page, "speed-up").tables
    assert table.lines[0].cells[1].text == "8.00, 8.10, 8.40 (range 5.0%)"
    one_launch = page_of(read_subject(write_folder(tmp_path / "S", extras=False)))[0]
    assert section(one_launch, "speed-up").tables == ()
    (missing,) = section(one_launch, "photo").missing
    assert missing.reason
    assert missing.command


def test_what_disagrees_with_the_declaration_is_marked(page: Page) -> None:
    fields = {line.cells[0].text: line.cells for line in section(page, "architecture").tables[0].lines}
    assert [cell.text for cell in fields["depth_dim"]] == ["depth_dim", "64", "32", "32", "weights"]
    assert (fields["depth_dim"][0].note, fields["upsamplings"][0].note) == ("not as declared", "")


def test_what_was_not_tested_has_its_reason(page: Page) -> None:
    rows = {line.cells[0].text: line.cells[1].text for line in section(page, "untested").tables[0].lines}
    assert rows["tensorrt"] == "there is no NVIDIA driver"
    assert rows["fp32 engine"] == "not run: no builder here"
    assert rows["parity of bf16 by OpenVINO"] == "no bfloat16 here"
    assert rows["a speed-up of onnxruntime bf16"] == "invalid: parity fail: 7 mm"


@pytest.mark.parametrize(("weights", "tone"), [("stand-in", "warn"), ("demo", "warn"), ("checkpoint", "good")])
def test_weights_that_were_never_trained_qualify_the_whole_page(tmp_path: Path, weights: str, tone: str) -> None:
    made, found = page_of(read_subject(write_folder(tmp_path / "S", weights=weights, extras=False)))
    assert made.answers[0].tone == tone
    assert bool(made.notices) == bool(found.caveat) == (weights != "checkpoint")


def test_what_was_asked_no_limit_in_mm_is_never_said_to_pass(tmp_path: Path) -> None:
    planted = [replace(of, status=EXPLAINED, drift_mm=183.2) for of in USUAL if of.precision != "int8"]
    made, found = page_of(read_subject(write_folder(tmp_path / "S", planted, weights="stand-in")))
    assert found.row is not None
    wrong = made.answers[2]
    assert (wrong.text, wrong.tone) == ("Not known: no limit was asked", "warn")
    assert f"parity {EXPLAINED}: mean 183 mm" in wrong.details[0]
    table = section(made, "decision").tables[0]
    cells = [line.cells[table.columns.index("parity")] for line in table.lines if "pytorch" not in line.cells[0].text]
    assert {(cell.text, cell.tone) for cell in cells} == {(f"{EXPLAINED} 183 mm", "warn")}


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    made, _ = page_of(read_subject(write_folder(tmp_path / "S", extras=False, complete=False)))
    assert any("interrupted" in notice for notice in made.notices)
    assert made.answers[3].tone == "warn"


def test_the_page_is_small_and_asks_for_nothing(page: Page) -> None:
    text = html(page)
    assert len(text.encode()) <= LARGEST_BYTES
    outside_scripts = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    links = re.findall(r"""(?:\b(?:src|href)=|url\()["']?([^"'\s>)]+)""", outside_scripts)
    assert {link for link in links if not link.startswith(("#", "data:"))} == set()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    assert policy[1].count("sha256-") == 2


def test_the_page_of_a_long_run_with_many_rows_is_small_too(tmp_path: Path) -> None:
    runtimes = ("onnxruntime", "openvino", "onnxruntime-cuda", "tensorrt")
    planted = [Planted(name, of, 4.0) for name in runtimes for of in ("fp32", "fp16", "int8")]
    page, _ = page_of(read_subject(write_folder(tmp_path / "S", planted, rounds=300)))
    assert len(html(page).encode()) <= LARGEST_BYTES


def test_hostile_names_are_escaped_everywhere(tmp_path: Path) -> None:
    """In the page's text, in its pictures, in the data of its figures, and in Markdown."""
    planted = [*USUAL[:2], Planted("onnxruntime", "fp16", 4.0, faults=(HOSTILE,))]
    folder = write_folder(tmp_path / "S", planted, model=HOSTILE, cpu=HOSTILE)
    result = folder / "bench/result.json"
    plain = json.loads(result.read_text())
    plain["rows"][1]["runtime"] = HOSTILE
    plain["not_run"][0]["reason"] = HOSTILE
    result.write_text(json.dumps(plain))
    subject = read_subject(folder)
    page, found = page_of(subject)
    text = html(page)
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script") == 3
    for line in markdown(page, [(subject, found)]).splitlines():
        assert "<script" not in line
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 9


def test_markdown_has_the_answers_the_table_and_three_pictures(
    page: Page, subject: Subject, found: Recommendation
) -> None:
    text = markdown(page, [(subject, found)])
    assert "- **What do I ship?** openvino int8." in text
    assert ".;" not in text
    assert "| **openvino int8**<br>" in text
    assert re.findall(r"\]\((\w+\.png)\)", text) == ["pareto.png", "forest.png", "tail.png"]
    assert "- tensorrt: there is no NVIDIA driver" in text


def test_the_csv_has_a_line_a_row_and_hides_what_the_page_hides(subject: Subject, found: Recommendation) -> None:
    lines = {line["id"]: line for line in csv.DictReader(io.StringIO(report_csv([(subject, found)])))}
    assert len(lines) == 9
    assert [name for name, line in lines.items() if line["recommended"] == "True"] == ["openvino/int8/b1/t2"]
    hidden = lines["onnxruntime/fp16/b1/t2"]
    assert (hidden["p50_ms"], hidden["p90_ms"], hidden["speed_up"]) == ("", "", "")
    gone = lines["onnxruntime/bf16/b1/t2"]
    assert (gone["boundary"], gone["p50_ms"], gone["reasons"]) == ("", "", "parity fail: 7 mm")


def test_the_badge_is_an_endpoint_of_shields(subject: Subject, found: Recommendation) -> None:
    made = badge(subject, found)
    message = "openvino int8, 2.39 ms, stable"
    assert made == {"schemaVersion": 1, "label": "S", "message": message, "color": "brightgreen"}
    assert badge(subject, Recommendation(None, "no"))["color"] == "red"


def gate(*outcomes: str, complete: bool = True, reasons: tuple[str, ...] = ()) -> Gate:
    cells = [GateCell(f"{i}/fp32", of, ("why \x00 & <so>",), SpeedUp(1, 1, 1), 0.03) for i, of in enumerate(outcomes)]
    return Gate("paired", outcomes[0] if outcomes else "REFUSED", tuple(cells), reasons, complete)


def test_junit_fails_what_failed_and_skips_what_is_undecided() -> None:
    root = ElementTree.fromstring(junit(gate("FAIL", "PASS", "INCONCLUSIVE", "IMPROVED"), "S"))
    assert dict(root.attrib) == {"tests": "4", "failures": "1", "errors": "0", "skipped": "1"}
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"0/fp32": ["failure"], "1/fp32": [], "2/fp32": ["skipped"], "3/fp32": []}
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == "why \ufffd & <so>"


def test_junit_of_what_was_refused_or_interrupted_never_passes() -> None:
    for seen in (gate(reasons=("other machines",)), gate("PASS", complete=False)):
        root = ElementTree.fromstring(junit(seen, "S"))
        assert root.get("skipped") == "1"


def write_gate(path: Path) -> Path:
    cell: dict[str, Any] = {"id": "openvino/fp32/b1/t2", "outcome": "PASS", "reasons": ["fine"], "allowed": 0.03}
    cell["slowdown"] = {"median": 1.0, "low": 0.99, "high": 1.01}
    plain = {"schema_version": "1.0", "kind": "compare", "mode": "paired", "outcome": "PASS", "cells": [cell]}
    path.write_text(json.dumps(plain | {"complete": True, "reasons": []}))
    return path


def test_all_files_are_written_and_old_ones_are_not_left_to_be_believed(folder: Path, tmp_path: Path) -> None:
    made = of_models([folder], tmp_path / "out", write_gate(tmp_path / "gate.json"))
    names = {path.name for path in made.files}
    assert names == {
        *("report.html", "report.md", "report.csv", "badge.json", "junit.xml"),
        *("pareto.png", "forest.png", "tail.png"),
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert not list(tmp_path.rglob(PARTIAL_PREFIX + "*"))
    assert 'id="gate"' in (tmp_path / "out/report.html").read_text()
    before = (tmp_path / "out/report.html").read_bytes()
    of_models([folder], tmp_path / "out")
    assert not (tmp_path / "out/junit.xml").exists()
    of_models([folder], tmp_path / "out", tmp_path / "gate.json")
    assert (tmp_path / "out/report.html").read_bytes() == before


WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cv2"}:
            raise ImportError(name + " must not be needed")
sys.meta_path.insert(0, Refuse())
sys.argv = ["convnextpose", *sys.argv[1:]]
from cli.main import run
run()
"""


def test_several_models_have_one_report_beside_them(tmp_path: Path) -> None:
    for model in ("S", "M"):
        write_folder(tmp_path / model, model=model, extras=False)
    made = of_models([tmp_path])
    assert made.folder == tmp_path / "report"
    assert {path.name for path in made.files} == {"report.html", "report.md", "report.csv"}
    lines = csv.DictReader(io.StringIO((tmp_path / "report/report.csv").read_text()))
    assert {line["model"] for line in lines if line["recommended"] == "True"} == {"S", "M"}


def test_the_command_writes_the_page_where_there_is_no_torch(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "report", str(folder), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "ship openvino int8 (onnx/S-int8.onnx), stable" in done.stdout
    assert (tmp_path / "report.html").is_file()


def test_mistakes_are_told_in_three_parts_and_leave_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert_three_parts(convnextpose("report", tmp_path / "nowhere", "--out", out, cwd=tmp_path), 2)
    assert_three_parts(convnextpose("report", folder, "--gate", tmp_path / "none", "--out", out, cwd=tmp_path), 2)
    other = write_folder(tmp_path / "M", model="M", extras=False)
    with pytest.raises(BadInput, match="of one model"):
        write_reports([folder, other], out, write_gate(tmp_path / "gate.json"))
    assert not out.exists()


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


def test_json_says_what_to_ship(folder: Path, tmp_path: Path) -> None:
    done = convnextpose("report", folder, "--out", tmp_path, "--json", cwd=tmp_path)
    (model,) = json.loads(done.stdout)["models"]
    assert (model["recommended"], model["artifact"]) == ("openvino/int8/b1/t2", "onnx/S-int8.onnx")
