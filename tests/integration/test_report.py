"""Test the page of one model: files, sections and exit codes of ``convnextpose report``."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import ROOT
from tests.support.report_folder import USUAL, write_folder
from tests.support.report_pages import INVALID, UNSTABLE, markup_of, rewrite, sections_of, text_of, write_gate

Report = Callable[..., "subprocess.CompletedProcess[str]"]

HOSTILE = "<script>alert(1)</script>|`*](x) \x1b[31m\x00\n"
SECTIONS = {
    *("decision", "pareto", "speed-up", "parts", "joints"),
    *("architecture", "files", "untested", "reproduce"),
}


def test_page_of_one_model_has_every_section_and_its_files(model_folder: Path, report: Report) -> None:
    done = report(model_folder)
    assert done.returncode == 0, done.stderr
    place = model_folder / "report"
    names = {path.name for path in place.iterdir()}
    assert names == {"report.html", "report.md"}
    assert sections_of(place / "report.html") >= SECTIONS
    assert str(place / "report.html") in "".join(done.stdout.splitlines())
    text = text_of(place / "report.html")
    for row in (*USUAL, UNSTABLE, INVALID):
        assert f"{row.runtime} {row.precision}" in text
    for said in ("unstable", "invalid", "parity fail: 7 mm", "there is no NVIDIA driver", "no builder here", "720"):
        assert said in text


def test_page_is_one_small_file_without_requests(model_folder: Path, report: Report) -> None:
    report(model_folder)
    page = model_folder / "report/report.html"
    assert page.stat().st_size <= 3_000_000
    links = re.findall(r"""(?:\b(?:src|href)=|url\()["']?([^"'\s>)]+)""", markup_of(page))
    assert {link for link in links if not link.startswith(("#", "data:"))} == set()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.read_text())
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")


def test_every_format_names_the_same_recommendation(model_folder: Path, report: Report) -> None:
    plain = json.loads(report(model_folder, "--json").stdout)
    assert [(of["recommended"], of["artifact"]) for of in plain["models"]] == [
        ("openvino/int8/b1/t2", "onnx/S-int8.onnx")
    ]
    assert plain["refused"] == []
    assert "ship openvino int8" in report(model_folder).stdout
    assert "**openvino int8**" in (model_folder / "report/report.md").read_text()


@pytest.mark.parametrize("weights", ["stand-in", "demo"])
def test_weights_not_trained_on_people_are_named(tmp_path: Path, weights: str, report: Report) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:3], weights=weights, extras=False)
    assert weights in report(folder).stdout
    assert f"weights: {weights}" in text_of(folder / "report/report.html").lower()


def test_interrupted_benchmark_has_a_notice(tmp_path: Path, report: Report) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:2], extras=False, complete=False)
    assert report(folder).returncode == 0
    assert "interrupted" in text_of(folder / "report/report.html")


@pytest.mark.parametrize("outcome", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_gate_outcome_is_on_the_page(model_folder: Path, tmp_path: Path, report: Report, outcome: str) -> None:
    done = report(model_folder, "--gate", write_gate(tmp_path / "gate.json", outcome), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "out/report.html"
    assert "gate" in sections_of(page)
    assert outcome in text_of(page)


def test_page_without_benchmark_names_its_command(model_folder: Path, report: Report) -> None:
    shutil.rmtree(model_folder / "bench")
    assert report(model_folder).returncode == 0
    assert f"convnextpose bench {model_folder}" in text_of(model_folder / "report/report.html")
    shutil.rmtree(model_folder / "accuracy")
    (model_folder / "latency.json").unlink()
    assert report(model_folder).returncode == 0
    assert f"convnextpose evaluate {model_folder}" in text_of(model_folder / "report/report.html")


def test_names_from_files_are_escaped(tmp_path: Path, report: Report) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:3], model=HOSTILE, cpu=HOSTILE)
    rewrite(folder / "bench/result.json", lambda plain: plain["rows"][1].update(runtime=HOSTILE))
    assert report(folder).returncode == 0
    page = (folder / "report/report.html").read_text()
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<script" not in (folder / "report/report.md").read_text()


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


def test_report_needs_no_torch(model_folder: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "report", str(model_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (model_folder / "report/report.html").is_file()
