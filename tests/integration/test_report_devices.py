"""Test pages of several models and of several devices."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.command_line import assert_three_parts
from tests.support.fleet_measured import FAILED, NO_GPU, NO_OPENVINO
from tests.support.report_folder import USUAL, write_folder
from tests.support.report_pages import sections_of, text_of

Report = Callable[..., "subprocess.CompletedProcess[str]"]


def test_several_models_share_one_page(tmp_path: Path, report: Report) -> None:
    for name in ("S", "M"):
        write_folder(tmp_path / "build" / name, model=name, extras=False)
    done = report(tmp_path / "build", "--json")
    assert done.returncode == 0, done.stderr
    place = tmp_path / "build/report"
    assert {(of["model"], of["recommended"] is not None) for of in json.loads(done.stdout)["models"]} == {
        ("S", True),
        ("M", True),
    }
    assert sections_of(place / "report.html") >= {"decision", "untested", "reproduce"}
    for command in (f"convnextpose export {name}" for name in ("S", "M")):
        assert command in text_of(place / "report.html")


def test_models_of_two_machines_are_refused_on_one_page(model_folder: Path, tmp_path: Path, report: Report) -> None:
    other = write_folder(tmp_path / "build/M", USUAL[:2], model="M", cpu="Another processor", extras=False)
    done = report(model_folder, other)
    assert_three_parts(done, 2)
    assert "Another processor" in done.stderr
    assert not (tmp_path / "build/report/report.html").exists()


def test_devices_of_a_fleet_run_share_one_page(run_folder: Path, report: Report) -> None:
    done = report(run_folder, "--json")
    assert done.returncode == 0, done.stderr
    place = run_folder / "report"
    assert sections_of(place / "report.html") >= {"decision", "speed-up", "devices", "untested", "reproduce"}
    text = text_of(place / "report.html")
    for said in ("orin", "box", "Cortex-A78AE", "540.4.0", FAILED, NO_GPU, NO_OPENVINO, "tensorrt fp16", "8.86"):
        assert said in text
    (page,) = json.loads(done.stdout)["devices"]
    shipped = {(of["device"], of["model"], of["recommended"]) for of in page["measurements"] if of["recommended"]}
    assert {(device, model, row.split("/b1")[0]) for device, model, row in shipped} == {
        ("orin", "S", "tensorrt/fp16"),
        ("box", "S", "openvino/fp16"),
        ("orin", "L", "tensorrt/fp16"),
    }
    for words in ("fastest device", "faster device", "than box", "than orin"):
        assert words not in text


def test_device_reports_share_one_page(device_report: Path, tmp_path: Path, report: Report) -> None:
    places = [Path(shutil.copy(device_report, tmp_path / f"{name}.json")) for name in ("orin", "box")]
    done = report(*places, "--json")
    assert done.returncode == 0, done.stderr
    place = tmp_path / "report"
    (page,) = json.loads(done.stdout)["devices"]
    assert {of["device"] for of in page["measurements"]} == {"orin", "box"}
    assert {of["verdict"] for of in page["measurements"]} <= {"noisy", None}
    assert "onnxruntime fp32" in text_of(place / "report.html")


def test_device_reports_are_a_section_of_the_models_page(
    device_report: Path, once_export: Path, tmp_path: Path, report: Report
) -> None:
    export = tmp_path / "build/once"
    (export / "devices").mkdir(parents=True)
    shutil.copy(once_export / "manifest.json", export)
    shutil.copy(device_report, export / "devices/orin.json")
    box = shutil.copy(device_report, tmp_path / "box.json")
    assert report(export, box).returncode == 0
    page = export / "report/report.html"
    assert "devices" in sections_of(page)
    assert {"orin", "box"} <= set(text_of(page).split())
