"""Several devices side by side: what is shown, what is refused, and that no ms of one is held against another's."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.fleet.record import SCHEMA_VERSION, read_fleet, write_fleet
from bench.report.comparison import comparison_of
from bench.report.devices.from_fleet import IN_THE_MATRIX, read_run
from bench.report.devices.page import devices_page
from bench.report.devices.told import NOT_ASKED, Devices, Told
from bench.report.devices.untested import gaps
from bench.report.devices.write import devices_csv
from bench.report.from_export import read_subject
from bench.report.markdown import devices_markdown
from bench.report.page import html
from bench.report.sources import find_sources
from bench.report.subject import HEADLINE, Row
from bench.report.views import Page, Section, Table
from bench.report.write import LARGEST_BYTES, write_reports
from export.errors import BadInput
from export.manifest import read_manifest
from tests.command_line import assert_three_parts, convnextpose, convnextpose_here
from tests.fleet_measured import FAILED, NO_GPU, NO_OPENVINO, with_idle_devices, write_run
from tests.report_folder import DRIFT_MM, accuracy, write_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two devices, two models, one of four jobs failed, two devices without work; tests must leave it as it is."""
    folder = tmp_path_factory.mktemp("devices") / "build/fleet/spring"
    write_run(folder)
    with_idle_devices(folder)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "build/fleet/spring"))


@pytest.fixture(scope="module")
def devices(run: Path) -> Devices:
    return read_run(run)


@pytest.fixture(scope="module")
def page(devices: Devices) -> Page:
    return devices_page(devices)


def section(page: Page, identity: str) -> Section:
    return next(of for of in page.sections if of.id == identity)


def cells(table: Table) -> dict[tuple[str, str], str]:
    """(line, label of the column) → text and note."""
    return {
        (line.cells[0].text, label): f"{cell.text}|{cell.note}"
        for line in table.lines
        for label, cell, _ in table.labelled(line)
    }


def test_each_device_is_told_what_to_ship_there(page: Page) -> None:
    seen = cells(section(page, "decision").tables[0])
    assert seen["orin", "S"].startswith(
        "tensorrt fp16: 4.49 ms, 8.86×|speed-up [8.83, 8.94]; parity pass, 0.04 mm; stable"
    )
    assert seen["box", "S"].startswith("openvino fp16: 6.10 ms, 3.28×")
    assert seen["box", "L"] == f"not run|failed: {FAILED}"
    assert seen["orin", "device"] == "orin|Cortex-A78AE, Orin"


def test_a_row_that_a_device_did_not_run_says_why_and_is_never_blank(page: Page) -> None:
    (table,) = section(page, "model-0").tables
    seen = cells(table)
    assert table.groups == (("", 1), ("orin", 3), ("box", 3))
    assert seen["openvino fp16", "orin"] == f"not run|{NO_OPENVINO}"
    assert seen["tensorrt fp16", "box"] == f"not run|{NO_GPU}"
    assert seen["onnxruntime fp16", "orin"] == f"not run|{NOT_ASKED}"
    assert seen["tensorrt fp16", "orin: p50, ms"].startswith("4.49|recommended there")
    assert seen["pytorch fp32", "box: speed-up"].startswith("1|the reference")
    assert seen["openvino fp32", "box: speed-up"].startswith("unstable|the ratio is known to")
    assert all(value != "|" for value in seen.values())
    (failed,) = section(page, "model-1").tables
    assert {text for (_, label), text in cells(failed).items() if label == "box"} == {f"not run|failed: {FAILED}"}


def test_nothing_says_that_a_device_is_faster_and_no_figure_has_ms(page: Page) -> None:
    text = json.dumps([[answer.text, *answer.details] for answer in page.answers])
    text += "".join(said for of in page.sections for said in of.lead)
    for devices_ranked in ("fastest device", "faster device", "slower device", "fastest on", "than box", "than orin"):
        assert devices_ranked not in text
    for of in page.sections:
        for figure in of.figures:
            assert "_ms" not in json.dumps(figure.spec)
            assert " ms" not in json.dumps(figure.spec)
    assert "their ms do not compare" in text


def test_ms_of_one_device_change_nothing_that_is_said_of_another(devices: Devices, page: Page) -> None:
    """A box that is ten times slower in everything has the same ratios: only its own ms may change."""
    slow = devices_page(replace(devices, told=tuple(map(slowed, devices.told))))
    assert [answer.text for answer in slow.answers] == [answer.text for answer in page.answers]
    assert [figure.spec for figure in section(slow, "speed-up").figures] == [
        figure.spec for figure in section(page, "speed-up").figures
    ]
    (before,), (after,) = section(page, "model-0").tables, section(slow, "model-0").tables
    changed = {label for key, label in cells(before) if cells(before)[key, label] != cells(after)[key, label]}
    assert changed == {"box: p50, ms"}
    assert [line.cells[0].text for line in after.lines] == [line.cells[0].text for line in before.lines]


def slowed(one: Told) -> Told:
    return replace(one, rows=tuple(map(ten_times, one.rows))) if one.device.name == "box" else one


def ten_times(row: Row) -> Row:
    timing = row.headline
    return replace(row, timings={HEADLINE: replace(timing, p50_ms=10 * timing.p50_ms)}) if timing else row


def test_figures_show_speed_ups_of_ranked_rows_only(page: Page) -> None:
    first, second = section(page, "speed-up").figures
    assert [first.id, second.id] == ["devices-0", "devices-1"]
    assert "openvino fp32" not in json.dumps(first.spec)
    assert "box over pytorch fp32: onnxruntime fp32 2.51" in first.alt
    assert "box: no speed-up" in second.alt


def test_swapped_devices_swap_everything_that_is_said_of_them(copy: Path, devices: Devices, page: Page) -> None:
    """Columns follow the record's order, and each keeps its own figures."""
    record = read_fleet(copy)
    write_fleet(copy, record.model_copy(update={"jobs": [record.jobs[i] for i in (1, 0, 3, 2)]}))
    swapped = read_run(copy)
    assert swapped.names == devices.names[::-1] == ("box", "orin")
    (table,) = section(devices_page(swapped), "model-0").tables
    (before,) = section(page, "model-0").tables
    assert table.columns == before.columns
    assert [name for name, _ in table.groups[1:]] == ["box", "orin"]
    assert cells(table) == cells(before)


def test_what_was_not_tested_counts_jobs_devices_and_rows(devices: Devices, page: Page) -> None:
    seen = {(gap.where, gap.what): gap for gap in gaps(devices)}
    assert seen["box", "L"].reason == f"failed: {FAILED}"
    assert seen["box", "L"].command.startswith("convnextpose fleet resume ")
    assert "another version" in seen["orin-old", "the device: refused"].reason
    assert "it overheated" in seen["orin-hot", "the device: benched"].reason
    assert seen["orin", "S, L: openvino"].reason == NO_OPENVINO
    assert page.answers[4].text == f"{len(seen)} things"
    assert len(section(page, "untested").tables[0].lines) == len(seen)


def test_what_differs_between_devices_stands_first(page: Page) -> None:
    (table,) = section(page, "devices").tables
    notes = [line.cells[0].note for line in table.lines]
    assert notes == sorted(notes)  # "differs" before "the same"
    seen = cells(table)
    assert seen["tensorrt", "orin"] == "10.3.0|"
    assert seen["GPU driver", "orin"] == "540.4.0|"
    assert seen["processor", "box"] == "A processor|"
    assert seen["power mode", "box"] == "not recorded|"


def test_a_run_that_goes_on_or_was_interrupted_is_shown_as_it_stands(copy: Path) -> None:
    record = read_fleet(copy)
    running = record.jobs[0].model_copy(update={"state": "running", "outcome": None})
    waiting = record.jobs[2].model_copy(update={"state": "waiting", "outcome": None, "worker": ""})
    jobs = [running, record.jobs[1], waiting, record.jobs[3]]
    write_fleet(copy, record.model_copy(update={"jobs": jobs, "complete": False}))
    found = read_run(copy)
    made = devices_page(found)
    assert "the run is not complete: 2 of 4 jobs have an end" in made.notices
    reasons = {(one.device.name, one.model): one.missing for one in found.told}
    assert reasons["orin", "S"] == "its measuring was interrupted"
    assert reasons["orin", "L"] == "it was not begun"


def test_what_was_evaluated_at_home_holds_for_the_same_file_on_a_device(copy: Path) -> None:
    manifest = read_manifest(copy / "orin/S/manifest.json")
    place = copy.parent / "exports/S/accuracy"
    place.mkdir(parents=True)
    evaluated = accuracy(manifest)
    (place / "drawn.json").write_text(json.dumps(evaluated | {"weights": {"sha256": "b" * 64}}))
    assert not any(row.accuracy for one in read_run(copy).told for row in one.rows)
    (place / "drawn.json").write_text(json.dumps(evaluated))
    found = read_run(copy)
    row = found.told[0].row("tensorrt fp16")
    assert row is not None
    assert row.accuracy[0].mpjpe_mm == pytest.approx(52 + DRIFT_MM["fp16"] / 4)
    assert not any("accuracy" in gap.what for gap in gaps(found) if "S" in gap.what)


def test_one_device_is_a_page_too(copy: Path) -> None:
    record = read_fleet(copy)
    write_fleet(copy, record.model_copy(update={"jobs": record.jobs[:1], "devices": record.devices[:1]}))
    made = devices_page(read_run(copy))
    assert made.answers[0].text == "tensorrt fp16"
    assert made.title == "run: one device, orin"


def test_answers_are_no_better_than_what_was_measured(page: Page) -> None:
    """One of four jobs failed."""
    assert [page.answers[which].tone for which in (1, 2)] == ["warn", "warn"]


def test_a_job_that_a_second_device_has_done_was_tested(copy: Path) -> None:
    record = read_fleet(copy)
    first, *others = record.jobs
    assert first.outcome is not None
    outcome = first.outcome.model_copy(update={"troubles": ("orin-9: its worker was lost",)})
    write_fleet(copy, record.model_copy(update={"jobs": [first.model_copy(update={"outcome": outcome}), *others]}))
    found = read_run(copy)
    assert f"{first.spec.name} was tried before: orin-9: its worker was lost" in found.notices
    assert not any("orin-9" in gap.reason for gap in gaps(found))


def test_a_fleet_is_not_told_to_use_switches_that_it_lacks(devices: Devices) -> None:
    reasons = {gap.reason for gap in gaps(devices) if "pytorch-compile" in gap.what}
    assert reasons == {f"left out; {IN_THE_MATRIX}"}


def test_what_an_earlier_matrix_measured_is_named_and_not_shown(copy: Path) -> None:
    record = read_fleet(copy)
    first, *others = record.jobs
    write_fleet(copy, record.model_copy(update={"jobs": others, "earlier": [first]}))
    found = read_run(copy)
    assert len(found.told) == len(others)
    assert f"earlier results, kept and not shown: {first.spec.name} in {first.folder}" in found.notices


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("fleet.json", lambda text: text[:-9], "not of schema"),
        (
            "fleet.json",
            lambda text: text.replace(f'"schema_version": "{SCHEMA_VERSION}"', '"schema_version": "9.0"', 1),
            "schema_version 9.0",
        ),
        (
            "orin/S/bench/result.json",
            lambda text: text.replace('"noisy"', '"stable"').replace("4.4", "3.4"),
            "was changed",
        ),
        ("orin/S/manifest.json", lambda text: text + " ", "was changed"),
        ("orin/S/job.json", lambda text: "{}", "was changed"),
    ],
)
def test_damage_is_refused_and_nothing_is_written(
    copy: Path,
    name: str,
    damage: Callable[[str], str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = copy / name
    path.write_text(damage(path.read_text()))
    done = convnextpose_here(monkeypatch, capsys, "report", copy, cwd=copy)
    assert_three_parts(done, 2)
    assert said in done.stderr
    assert not (copy / "report").exists()


def test_names_from_devices_are_escaped(copy: Path) -> None:
    hostile = "<script>alert(1)</script>|`*](x)"
    path = copy / "fleet.json"
    path.write_text(path.read_text().replace(FAILED, hostile))
    made = devices_page(read_run(copy))
    text = html(made)
    assert "<script>alert" not in text
    assert len(text.encode()) <= LARGEST_BYTES
    for line in devices_markdown(made).splitlines():
        assert "<script" not in line


def test_markdown_and_csv_say_what_the_page_says(devices: Devices, page: Page) -> None:
    text = devices_markdown(page)
    assert re.findall(r"\]\(([\w-]+\.png)\)", text) == ["devices-0.png", "devices-1.png"]
    assert ".;" not in text
    assert ".." not in text.replace("...", "")
    for table in (of for part in page.sections for of in part.tables):
        header = next(line for line in text.splitlines() if line.startswith(f"| {table.columns[0]} |"))
        assert header
    wide = next(line for line in text.splitlines() if line.startswith("| openvino fp16 |"))
    assert len(re.findall(r"(?<!\\)\|", wide)) == 8
    lines = list(csv.DictReader(io.StringIO(devices_csv(devices))))
    by_row = {(line["device"], line["model"], line["runtime"], line["precision"]): line for line in lines}
    assert by_row["orin", "S", "openvino", "fp16"]["not_run"] == NO_OPENVINO
    assert by_row["box", "S", "openvino", "fp32"]["speed_up"] == ""
    shipped = {key for key, line in by_row.items() if line["recommended"] == "True"}
    assert shipped == {
        ("orin", "S", "tensorrt", "fp16"),
        ("box", "S", "openvino", "fp16"),
        ("orin", "L", "tensorrt", "fp16"),
    }


def test_a_folder_of_all_makes_the_models_page_and_one_of_each_run(copy: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    only_fleet = write_reports([build])
    assert only_fleet.models is None
    assert [made.folder for made in only_fleet.devices] == [copy / "report"]
    assert {path.name for path in only_fleet.devices[0].files} == {
        *("report.html", "report.md", "report.csv", "devices-0.png", "devices-1.png"),
    }
    write_folder(build / "S", extras=False)
    assert find_sources([build]).models == (build / "S",)
    both = write_reports([build])
    assert both.models is not None
    assert both.models.folder == build / "S/report"
    plain = both.as_json()
    assert [of["model"] for of in plain["models"]] == ["S"]
    told = {(of["device"], of["model"]): of for of in plain["devices"][0]["told"]}
    assert told["box", "S"]["recommended"] == "openvino/fp16/b1/t2"
    assert told["box", "L"]["missing"] == f"failed: {FAILED}"
    with pytest.raises(BadInput, match="one --out for several pages"):
        write_reports([build], tmp_path / "out")
    assert find_sources([build / "fleet"]).runs == (copy,)


def test_pictures_of_an_earlier_report_are_not_left_to_be_believed(copy: Path) -> None:
    write_reports([copy])
    record = read_fleet(copy)
    write_fleet(copy, record.model_copy(update={"jobs": record.jobs[:2]}))
    write_reports([copy])
    assert sorted(path.name for path in (copy / "report").glob("*.png")) == ["devices-0.png"]


def test_models_of_two_devices_on_one_page_are_refused_with_what_shows_them(run: Path) -> None:
    with pytest.raises(BadInput) as refused:
        comparison_of([read_subject(run / name / "S") for name in ("orin", "box")])
    assert f"convnextpose report {run}" in refused.value.do


def test_the_terminal_says_what_to_ship_on_each_device(copy: Path) -> None:
    done = convnextpose("report", copy, cwd=copy.parents[2])
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "orin S tensorrt fp16 4.49 8.86 [8.83, 8.94] pass stable" in lines
    assert f"box L failed: {FAILED} – – – –" in lines
    assert any(line.startswith("not tested orin-old: the device: refused") for line in lines)
    assert any(line.startswith("page: ") for line in lines)
