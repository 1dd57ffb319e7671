"""``convnextpose report`` from the outside: files, sections, exit codes, refusals."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.bundles import verify
from tests.support.command_line import ROOT, assert_three_parts, in_process
from tests.support.fleet_measured import FAILED, NO_GPU, NO_OPENVINO, write_run
from tests.support.report_folder import USUAL, Planted, write_folder

HOSTILE = "<script>alert(1)</script>|`*](x) \x1b[31m\x00\n"
UNSTABLE = Planted("onnxruntime", "fp16", 1.0, noise=0.3)
INVALID = Planted("onnxruntime", "bf16", 1.0, faults=("parity fail: 7 mm",), outcome="fail", drift_mm=7)
SECTIONS = {
    *("decision", "pareto", "speed-up", "tail", "throughput", "parts", "joints"),
    *("architecture", "files", "untested", "reproduce"),
}

Report = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Run the command and return what it said."""
    return lambda *arguments: in_process("report", *arguments, cwd=tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with good rows, an unstable one and an invalid one; tests must leave it as it is."""
    return write_folder(tmp_path_factory.mktemp("model") / "S", (*USUAL, UNSTABLE, INVALID))


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "build/S"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet's run: two devices, two models, one of four jobs failed; tests must leave it as it is."""
    folder = tmp_path_factory.mktemp("fleet") / "build/fleet/spring"
    write_run(folder)
    return folder


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "build/fleet/spring"))


@pytest.fixture(scope="module")
def verified(once_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a bundle's verifier really said of this machine; tests must leave it as it is."""
    path = tmp_path_factory.mktemp("verified") / "orin.json"
    done = verify(once_bundle, "--out", path, "--seconds", "4", "--no-build")
    assert done.returncode == 0, done.stderr
    return path


def markup_of(page: Path) -> str:
    """A page without its scripts and its style."""
    return re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)


def text_of(page: Path) -> str:
    """What a reader can read on it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", markup_of(page))).split())


def sections_of(page: Path) -> set[str]:
    return set(re.findall(r'<(?:section|details) id="([^"]+)"', markup_of(page)))


def lines_of(place: Path) -> list[dict[str, str]]:
    with (place / "report.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def write_gate(path: Path, outcome: str = "PASS") -> Path:
    cell: dict[str, Any] = {"id": "openvino/fp32/b1/t2", "outcome": outcome, "reasons": ["so & <so>"], "allowed": 0.03}
    cell["slowdown"] = {"median": 1.0, "low": 0.99, "high": 1.01}
    plain = {"schema_version": "1.0", "kind": "compare", "mode": "paired", "outcome": outcome, "cells": [cell]}
    path.write_text(json.dumps(plain | {"complete": True, "reasons": []}))
    return path


def test_one_model_has_a_page_with_every_section_and_its_files(model: Path, report: Report) -> None:
    done = report(model)
    assert done.returncode == 0, done.stderr
    place = model / "report"
    names = {path.name for path in place.iterdir()}
    assert names >= {"report.html", "report.md", "report.csv", "badge.json", "pareto.png"}
    assert "junit.xml" not in names
    assert sections_of(place / "report.html") >= SECTIONS
    assert str(place / "report.html") in "".join(done.stdout.splitlines())
    text = text_of(place / "report.html")
    for row in (*USUAL, UNSTABLE, INVALID):
        assert f"{row.runtime} {row.precision}" in text
    for said in ("unstable", "invalid", "parity fail: 7 mm", "there is no NVIDIA driver", "no builder here", "720"):
        assert said in text


def test_the_page_is_one_small_file_that_asks_for_nothing(model: Path, report: Report) -> None:
    report(model)
    page = model / "report/report.html"
    assert page.stat().st_size <= 3_000_000
    links = re.findall(r"""(?:\b(?:src|href)=|url\()["']?([^"'\s>)]+)""", markup_of(page))
    assert {link for link in links if not link.startswith(("#", "data:"))} == set()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page.read_text())
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")


def test_what_to_ship_is_said_alike_everywhere(model: Path, report: Report) -> None:
    plain = json.loads(report(model, "--json").stdout)
    assert [(of["recommended"], of["artifact"]) for of in plain["models"]] == [
        ("openvino/int8/b1/t2", "onnx/S-int8.onnx")
    ]
    assert plain["refused"] == []
    assert "ship openvino int8" in report(model).stdout
    place = model / "report"
    assert [line["id"] for line in lines_of(place) if line["recommended"] == "True"] == ["openvino/int8/b1/t2"]
    badge = json.loads((place / "badge.json").read_text())
    assert (badge["schemaVersion"], badge["label"], badge["color"]) == (1, "S", "brightgreen")
    assert "openvino int8" in badge["message"]
    assert "**openvino int8**" in (place / "report.md").read_text()


def test_what_may_not_be_ranked_has_no_figures_in_the_csv(model: Path, report: Report) -> None:
    report(model)
    lines = {line["id"]: line for line in lines_of(model / "report")}
    assert len(lines) == 9
    hidden = lines["onnxruntime/fp16/b1/t2"]
    assert (hidden["p50_ms"], hidden["p90_ms"], hidden["speed_up"]) == ("", "", "")
    assert lines["onnxruntime/bf16/b1/t2"]["reasons"] == "parity fail: 7 mm"


@pytest.mark.parametrize("weights", ["stand-in", "demo"])
def test_weights_that_nobody_trained_on_people_are_named(tmp_path: Path, weights: str, report: Report) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:3], weights=weights, extras=False)
    assert weights in report(folder).stdout
    assert f"weights: {weights}" in text_of(folder / "report/report.html").lower()
    assert weights in json.loads((folder / "report/badge.json").read_text())["message"]


def test_an_interrupted_benchmark_says_so(tmp_path: Path, report: Report) -> None:
    folder = write_folder(tmp_path / "S", USUAL[:2], extras=False, complete=False)
    assert report(folder).returncode == 0
    assert "interrupted" in text_of(folder / "report/report.html")


@pytest.mark.parametrize(("outcome", "counted"), [("PASS", None), ("FAIL", "failures"), ("INCONCLUSIVE", "skipped")])
def test_a_gates_verdict_stands_on_the_page_and_in_junit(
    model: Path, tmp_path: Path, report: Report, outcome: str, counted: str | None
) -> None:
    done = report(model, "--gate", write_gate(tmp_path / "gate.json", outcome), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "out/report.html"
    assert "gate" in sections_of(page)
    assert outcome in text_of(page)
    suite = ElementTree.parse(tmp_path / "out/junit.xml").getroot()
    counts = {name: suite.get(name) for name in ("failures", "skipped")}
    assert counts == {name: str(int(name == counted)) for name in counts}
    report(model, "--out", tmp_path / "out")
    assert not (tmp_path / "out/junit.xml").exists()


def test_without_a_benchmark_the_page_says_what_makes_one(model: Path, report: Report) -> None:
    shutil.rmtree(model / "bench")
    assert report(model).returncode == 0
    assert f"convnextpose bench {model}" in text_of(model / "report/report.html")
    shutil.rmtree(model / "accuracy")
    (model / "latency.json").unlink()
    assert report(model).returncode == 0
    assert f"convnextpose evaluate {model}" in text_of(model / "report/report.html")


def test_several_models_stand_side_by_side(tmp_path: Path, report: Report) -> None:
    for name in ("S", "M"):
        write_folder(tmp_path / "build" / name, model=name, extras=False)
    done = report(tmp_path / "build")
    assert done.returncode == 0, done.stderr
    place = tmp_path / "build/report"
    assert {"report.html", "report.md", "report.csv"} <= {path.name for path in place.iterdir()}
    assert not (place / "badge.json").exists()
    assert {line["model"] for line in lines_of(place) if line["recommended"] == "True"} == {"S", "M"}
    assert sections_of(place / "report.html") >= {"decision", "untested", "reproduce"}
    for command in (f"convnextpose export {name}" for name in ("S", "M")):
        assert command in text_of(place / "report.html")


def test_models_of_two_machines_do_not_stand_in_one_table(model: Path, tmp_path: Path, report: Report) -> None:
    other = write_folder(tmp_path / "build/M", USUAL[:2], model="M", cpu="Another processor", extras=False)
    done = report(model, other)
    assert_three_parts(done, 2)
    assert "Another processor" in done.stderr
    assert not (tmp_path / "build/report/report.html").exists()


def test_several_devices_stand_side_by_side(run: Path, report: Report) -> None:
    done = report(run)
    assert done.returncode == 0, done.stderr
    place = run / "report"
    assert {"report.html", "report.md", "report.csv"} <= {path.name for path in place.iterdir()}
    assert sections_of(place / "report.html") >= {"decision", "speed-up", "devices", "untested", "reproduce"}
    text = text_of(place / "report.html")
    for said in ("orin", "box", "Cortex-A78AE", "540.4.0", FAILED, NO_GPU, NO_OPENVINO, "tensorrt fp16", "8.86"):
        assert said in text
    lines = {(line["device"], line["model"], line["runtime"], line["precision"]): line for line in lines_of(place)}
    shipped = {key for key, line in lines.items() if line["recommended"] == "True"}
    assert shipped == {
        ("orin", "S", "tensorrt", "fp16"),
        ("box", "S", "openvino", "fp16"),
        ("orin", "L", "tensorrt", "fp16"),
    }
    assert lines["box", "S", "openvino", "fp32"]["speed_up"] == ""
    assert any(line["not_run"] == NO_OPENVINO for line in lines.values())
    for words in ("fastest device", "faster device", "than box", "than orin"):
        assert words not in text


def test_reports_of_devices_stand_side_by_side(verified: Path, tmp_path: Path, report: Report) -> None:
    places = [Path(shutil.copy(verified, tmp_path / f"{name}.json")) for name in ("orin", "box")]
    done = report(*places)
    assert done.returncode == 0, done.stderr
    place = tmp_path / "report"
    assert {line["device"] for line in lines_of(place)} == {"orin", "box"}
    assert {line["verdict"] for line in lines_of(place)} <= {"noisy", "unstable", "invalid", ""}
    assert "onnxruntime fp32" in text_of(place / "report.html")


def test_what_a_device_reported_is_a_section_of_its_models_page(
    verified: Path, once_export: Path, tmp_path: Path, report: Report
) -> None:
    export = tmp_path / "build/once"
    (export / "devices").mkdir(parents=True)
    shutil.copy(once_export / "manifest.json", export)
    shutil.copy(verified, export / "devices/orin.json")
    box = shutil.copy(verified, tmp_path / "box.json")
    assert report(export, box).returncode == 0
    page = export / "report/report.html"
    assert "devices" in sections_of(page)
    assert {"orin", "box"} <= set(text_of(page).split())


DAMAGE: list[tuple[str, Callable[[str], str]]] = [
    (name, damage)
    for name in ("manifest.json", "latency.json", "bench/result.json", "accuracy/drawn.json")
    for damage in (
        lambda text: text[:-9],
        lambda text: "[[",
        lambda text: re.sub(r'"schema_version": ?"[^"]+"', '"schema_version": "9.9"', text, count=1),
    )
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_file_is_refused_by_name_and_nothing_is_written(
    model: Path, report: Report, name: str, damage: Callable[[str], str]
) -> None:
    path = model / name
    path.write_text(damage(path.read_text()))
    done = report(model)
    assert_three_parts(done, 2)
    assert path.name in done.stderr
    assert not (model / "report").exists()


def plant(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda model: rewrite(model / name, change)


@pytest.mark.parametrize(
    "foreign",
    [
        plant("manifest.json", lambda plain: plain["artifacts"][0].update(sha256="f" * 64)),
        plant("bench/result.json", lambda plain: plain.update(model="L")),
        plant("accuracy/drawn.json", lambda plain: plain["weights"].update(sha256="b" * 64)),
        plant("accuracy/drawn.json", lambda plain: plain["contenders"][0].update(sha256="c" * 64)),
        lambda model: (model / "bench/samples.npz").write_bytes(b"PK\x03\x04"),
    ],
)
def test_what_is_of_another_export_is_refused(model: Path, report: Report, foreign: Callable[[Path], object]) -> None:
    foreign(model)
    assert_three_parts(report(model), 2)
    assert not (model / "report").exists()


@pytest.mark.parametrize("name", ["fleet.json", "orin/S/bench/result.json", "orin/S/manifest.json", "orin/S/job.json"])
def test_a_run_with_a_changed_file_is_refused(run: Path, report: Report, name: str) -> None:
    path = run / name
    path.write_text(path.read_text()[:-9] + " ")
    assert_three_parts(report(run), 2)
    assert not (run / "report").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["bundle"].update(model="L"),
        lambda plain: plain["bundle"].update(weights_sha256="b" * 64),
        lambda plain: plain.update(schema_version="9.0"),
        lambda plain: next(row for row in plain["results"] if row["latency"])["latency"].update(p50_ms=0.1),
        lambda plain: next(row for row in plain["results"] if row["latency"]).update(artifact_sha256="c" * 64),
    ],
)
def test_a_device_report_that_was_changed_or_is_of_something_else_is_refused(
    verified: Path, once_export: Path, tmp_path: Path, report: Report, change: Callable[[Any], object]
) -> None:
    export = tmp_path / "build/once"
    (export / "devices").mkdir(parents=True)
    shutil.copy(once_export / "manifest.json", export)
    rewrite(Path(shutil.copy(verified, export / "devices/orin.json")), change)
    for named in (export, export / "devices/orin.json"):
        assert_three_parts(report(named), 2)
    assert not list(tmp_path.rglob("report.html"))


def test_what_is_damaged_costs_no_other_page(run: Path, model: Path, report: Report) -> None:
    broken = Path(shutil.copytree(model, model.with_name("broken")))
    (broken / "bench/result.json").write_text("{")
    done = report(run.parents[1], "--json")
    assert_three_parts(done, 2)
    plain = json.loads(done.stdout)
    assert [of["model"] for of in plain["models"]] == ["S"]
    assert len(plain["devices"]) == len(plain["refused"]) == 1
    page = run.parents[1] / "report/report.html"
    assert "result.json" in text_of(page)
    assert (run / "report/report.html").is_file()


def test_mistakes_say_what_to_do_and_leave_nothing(
    model: Path, verified: Path, once_bundle: Path, tmp_path: Path, report: Report
) -> None:
    out, gate = tmp_path / "out", write_gate(tmp_path / "gate.json")
    other = Path(shutil.copytree(model, model.with_name("other")))
    (tmp_path / "empty").mkdir()
    for wrong in (
        (tmp_path / "nowhere",),
        (tmp_path / "empty",),
        (once_bundle,),
        (model, "--gate", tmp_path / "none.json"),
        (model, "--gate", model / "latency.json"),
        (model, other, "--gate", gate),
        (verified, "--gate", gate),
        (model, other, verified),
    ):
        assert_three_parts(report(*wrong, "--out", out), 2)
    assert not out.exists()


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


def test_no_torch_is_needed(model: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "report", str(model)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (model / "report/report.html").is_file()
