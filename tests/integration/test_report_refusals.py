"""Test refusals of ``convnextpose report``: damaged, changed and foreign files, and bad arguments."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import assert_three_parts
from tests.support.report_pages import rewrite, text_of, write_gate

Report = Callable[..., "subprocess.CompletedProcess[str]"]


DAMAGE: list[tuple[str, Callable[[str], str]]] = [
    (name, damage)
    for name in ("manifest.json", "bench/result.json", "accuracy/drawn.json")
    for damage in (
        lambda text: text[:-9],
        lambda text: "[[",
        lambda text: re.sub(r'"schema_version": ?"[^"]+"', '"schema_version": "9.9"', text, count=1),
    )
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_damaged_file_is_refused_by_name_and_nothing_is_written(
    model_folder: Path, report: Report, name: str, damage: Callable[[str], str]
) -> None:
    path = model_folder / name
    path.write_text(damage(path.read_text()))
    done = report(model_folder)
    assert_three_parts(done, 2)
    assert path.name in done.stderr
    assert not (model_folder / "report").exists()


def plant(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda folder: rewrite(folder / name, change)


@pytest.mark.parametrize(
    "foreign",
    [
        plant("manifest.json", lambda plain: plain["artifacts"][0].update(sha256="f" * 64)),
        plant("bench/result.json", lambda plain: plain.update(model="L")),
        plant("accuracy/drawn.json", lambda plain: plain["weights"].update(sha256="b" * 64)),
        plant("accuracy/drawn.json", lambda plain: plain["contenders"][0].update(sha256="c" * 64)),
        lambda folder: (folder / "bench/samples.npz").write_bytes(b"PK\x03\x04"),
    ],
)
def test_files_of_another_export_are_refused(
    model_folder: Path, report: Report, foreign: Callable[[Path], object]
) -> None:
    foreign(model_folder)
    assert_three_parts(report(model_folder), 2)
    assert not (model_folder / "report").exists()


@pytest.mark.parametrize("name", ["fleet.json", "orin/S/bench/result.json", "orin/S/manifest.json", "orin/S/job.json"])
def test_fleet_run_with_a_changed_file_is_refused(run_folder: Path, report: Report, name: str) -> None:
    path = run_folder / name
    path.write_text(path.read_text()[:-9] + " ")
    assert_three_parts(report(run_folder), 2)
    assert not (run_folder / "report").exists()


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
def test_changed_or_foreign_device_report_is_refused(
    device_report: Path, once_export: Path, tmp_path: Path, report: Report, change: Callable[[Any], object]
) -> None:
    export = tmp_path / "build/once"
    (export / "devices").mkdir(parents=True)
    shutil.copy(once_export / "manifest.json", export)
    rewrite(Path(shutil.copy(device_report, export / "devices/orin.json")), change)
    for named in (export, export / "devices/orin.json"):
        assert_three_parts(report(named), 2)
    assert not list(tmp_path.rglob("report.html"))


def test_damaged_model_costs_no_other_page(run_folder: Path, model_folder: Path, report: Report) -> None:
    broken = Path(shutil.copytree(model_folder, model_folder.with_name("broken")))
    (broken / "bench/result.json").write_text("{")
    done = report(run_folder.parents[1], "--json")
    assert_three_parts(done, 2)
    plain = json.loads(done.stdout)
    assert [of["model"] for of in plain["models"]] == ["S"]
    assert len(plain["devices"]) == len(plain["refused"]) == 1
    page = run_folder.parents[1] / "report/report.html"
    assert "result.json" in text_of(page)
    assert (run_folder / "report/report.html").is_file()


def test_bad_arguments_are_refused_and_nothing_is_written(
    model_folder: Path, device_report: Path, once_bundle: Path, tmp_path: Path, report: Report
) -> None:
    out, gate = tmp_path / "out", write_gate(tmp_path / "gate.json")
    other = Path(shutil.copytree(model_folder, model_folder.with_name("other")))
    (tmp_path / "empty").mkdir()
    for wrong in (
        (tmp_path / "nowhere",),
        (tmp_path / "empty",),
        (once_bundle,),
        (model_folder, "--gate", tmp_path / "none.json"),
        (model_folder, "--gate", model_folder / "latency.json"),
        (model_folder, other, "--gate", gate),
        (device_report, "--gate", gate),
        (model_folder, other, device_report),
    ):
        assert_three_parts(report(*wrong, "--out", out), 2)
    assert not out.exists()
