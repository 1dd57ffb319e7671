"""Devices' own reports, as a bundle's verifier writes them: read, refused, and shown with the export and without it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.report.comparison import comparison_of
from bench.report.devices.belongs import read_reports
from bench.report.devices.from_reports import NO_CONTROL, devices_of, reference_of, told_of
from bench.report.devices.page import devices_page
from bench.report.from_export import read_subject
from bench.report.links import page_in
from bench.report.markdown import markdown
from bench.report.one_model import page_of
from bench.report.pages import beside
from bench.report.views import Link
from bench.report.write import write_reports
from export.errors import BadInput
from tests.bundles import verify
from tests.command_line import assert_three_parts, convnextpose_here
from tests.report_folder import write_folder


@pytest.fixture(scope="module")
def report(once_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the verifier really said of this machine; tests must leave it as it is."""
    path = tmp_path_factory.mktemp("verified") / "orin-nano.json"
    run = verify(once_bundle, "--out", path, "--seconds", "4", "--no-build")
    assert run.returncode == 0, run.stderr
    return path


@pytest.fixture
def copy(report: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(report, tmp_path / "orin-nano.json"))


@pytest.fixture
def export(once_export: Path, tmp_path: Path) -> Path:
    """The manifest alone: nothing else has to be there for a page."""
    folder = tmp_path / "build/once"
    folder.mkdir(parents=True)
    shutil.copy(once_export / "manifest.json", folder)
    return folder


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    return path


def timed(plain: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in plain["results"] if row["latency"])
    return row


def test_a_report_becomes_rows_over_the_devices_own_fp32(report: Path) -> None:
    named = read_reports([report])
    (told,) = told_of(named)
    assert (told.device.name, told.model, told.reference) == ("orin-nano", "once", "onnxruntime fp32")
    verified = {row.runtime.replace("_", "-"): row for row in named[0][1].results}
    assert {row.runtime for row in told.rows} | {what.split()[0] for what, _ in told.not_run} == set(verified)
    for row in told.rows:
        assert row.verdict in ("noisy", "unstable")  # without a control nothing is called stable
        assert (row.speed_up is not None) == (row.verdict == "noisy" and not row.is_reference)
    reference = told.row("onnxruntime fp32")
    assert reference is not None
    assert NO_CONTROL in reference.reasons
    assert any(what.startswith("tensorrt ") for what, _ in told.not_run)
    assert "FP32 row of ONNX Runtime" in reference_of([told])


def test_without_onnx_runtime_another_fp32_is_the_reference_and_it_says_so(copy: Path) -> None:
    def without(plain: dict[str, Any]) -> None:
        plain["results"] = [row for row in plain["results"] if row["runtime"] != "onnxruntime"]

    (told,) = told_of(read_reports([rewrite(copy, without)]))
    assert told.reference == "openvino fp32"
    assert "over openvino fp32 on orin-nano" in reference_of([told])


def test_a_report_without_latency_is_not_timed(copy: Path) -> None:
    def parity_alone(plain: dict[str, Any]) -> None:
        plain |= {"protocol": None, "overhead": None}
        plain["results"] = [row | {"latency": None} for row in plain["results"]]

    (told,) = told_of(read_reports([rewrite(copy, parity_alone)]))
    assert told.recommended.row is None
    assert {row.headline for row in told.rows} == {None}
    made = devices_page(devices_of(read_reports([copy])))
    assert made.answers[0].text == "Nothing can be recommended"


def test_rounds_in_which_the_reference_was_slow_do_not_decide(copy: Path) -> None:
    """The ratio is of rounds: a row that takes twice as long as the reference in each of them is half as fast."""

    def plant(plain: dict[str, Any]) -> None:
        base = next(row for row in plain["results"] if (row["runtime"], row["precision"]) == ("onnxruntime", "fp32"))
        rounds = [[(1.0 + index) * (1 + 0.0001 * k) for k in range(4)] for index in range(20)]
        _replace(base["latency"], rounds)
        for row in plain["results"]:
            if row["latency"] and row is not base:
                _replace(row["latency"], [[2 * sample for sample in samples] for samples in rounds])

    (told,) = told_of(read_reports([rewrite(copy, plant)]))
    ups = [row.speed_up for row in told.rows if not row.is_reference and row.timings]
    assert ups
    for up in ups:
        assert up is not None
        assert (up.low, up.median, up.high) == pytest.approx((0.5, 0.5, 0.5))
    assert told.recommended.row is not None
    assert told.recommended.row.is_reference


def _replace(latency: dict[str, Any], rounds: list[list[float]]) -> None:
    ordered = sorted(sample for samples in rounds for sample in samples)
    count = len(ordered)
    latency |= {"rounds_ms": rounds, "rounds": len(rounds), "samples": count, "p99_ms": None}
    latency |= {"p50_ms": ordered[-(-count // 2) - 1], "p90_ms": ordered[-(-9 * count // 10) - 1]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plain: timed(plain)["latency"].update(p50_ms=0.1), "its samples say"),
        (lambda plain: timed(plain)["latency"].update(samples=9), "9 samples in"),
        (lambda plain: timed(plain)["latency"]["rounds_ms"][0].append(-1.0), "samples in"),
        (lambda plain: timed(plain)["parity"]["limits"][0].update(allowed_mm=1e-9), "parity passed with"),
        (lambda plain: timed(plain)["parity"].update(outcome="fail"), "status pass, parity fail"),
        (lambda plain: timed(plain).update(parity=None), "it passed, and holds no parity"),
        (lambda plain: plain.update(schema_version="9.0"), "schema_version 9.0"),
        (lambda plain: plain.pop("device"), "device: Field required"),
    ],
)
def test_a_report_that_was_tampered_with_is_refused(copy: Path, change: Callable[[Any], object], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_reports([rewrite(copy, change)])
    assert said in refused.value.seen


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda plain: plain["bundle"].update(model="L"), "of another model"),
        (lambda plain: plain["bundle"].update(weights_sha256="b" * 64), "of other weights"),
        (lambda plain: timed(plain).update(artifact_sha256="c" * 64), "on other files"),
        (lambda plain: timed(plain).update(artifact="onnx/other.onnx"), "on other files"),
    ],
)
def test_what_is_of_something_else_is_refused_with_the_difference(
    copy: Path,
    export: Path,
    change: Callable[[Any], object],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Named with the export's folder, lying in its ``devices``, or named from there."""
    rewrite(copy, change)
    (export / "devices").mkdir()
    lying = Path(shutil.copy(copy, export / "devices/box.json"))
    for named in ([export], [lying]):
        done = convnextpose_here(monkeypatch, capsys, "report", *named, cwd=export)
        assert_three_parts(done, 2)
        assert what in done.stderr
    lying.unlink()
    done = convnextpose_here(monkeypatch, capsys, "report", export, copy, cwd=export)
    assert_three_parts(done, 2)
    assert what in done.stderr
    assert not (export / "report").exists()


def test_reports_of_different_weights_do_not_stand_in_one_table(report: Path, copy: Path) -> None:
    rewrite(copy, lambda plain: plain["bundle"].update(weights_sha256="b" * 64))
    with pytest.raises(BadInput, match="of different weights"):
        devices_of(read_reports([report, copy]))


def test_a_models_own_page_shows_what_devices_said(report: Path, export: Path) -> None:
    (export / "devices").mkdir()
    shutil.copy(report, export / "devices/orin-nano.json")
    box = shutil.copy(report, export.parent / "box.json")
    subject = read_subject(export, reports=[Path(box)])
    page, found = page_of(subject)
    of_devices = next(section for section in page.sections if section.id == "devices")
    assert of_devices.title == "On devices"
    assert [name for name, _ in of_devices.tables[0].groups] == ["", "orin-nano", "box"]
    row = next(row for row in subject.on_devices[0].rows if row.file)
    assert row.file_bytes == next(of.size_bytes for of in subject.files if of.path == row.file)
    assert any("tensorrt fp32 on orin-nano" in line.cells[0].text for line in _untested(page))
    assert "## On devices" in markdown(page, [(subject, found)])


def test_a_page_of_several_models_leads_to_what_devices_said(report: Path, export: Path) -> None:
    (export / "devices").mkdir()
    shutil.copy(report, export / "devices/orin-nano.json")
    other = write_folder(export.parent / "M", model="M", extras=False)
    page, _ = comparison_of([read_subject(export), read_subject(other)])
    of_devices = next(section for section in page.sections if section.id == "elsewhere")
    (line,) = of_devices.tables[0].lines
    model, devices, _, cell = line.cells
    assert (model.text, devices.text, cell.text) == ("once", "orin-nano", f"convnextpose report {export}")
    assert cell.link == Link("once on devices", page_in(export))
    assert not any(section.id == "elsewhere" for section in page_of(read_subject(export))[0].sections)


def _untested(page: Any) -> Any:
    return next(section for section in page.sections if section.id == "untested").tables[0].lines


def test_two_reports_of_one_machine_are_said_to_be_that(report: Path, copy: Path, tmp_path: Path) -> None:
    box = copy.rename(tmp_path / "box.json")
    found = devices_of(read_reports([report, box]))
    assert found.names == ("orin-nano", "box")
    assert found.notices == ("orin-nano and box say the same of themselves: they may be one machine",)
    same_name = Path(shutil.copy(report, tmp_path / "orin-nano.json"))
    assert devices_of(read_reports([report, same_name])).names == (f"orin-nano ({report})", f"orin-nano ({same_name})")


def power_mode(name: str, number: int, pinned: bool = False) -> Callable[[dict[str, Any]], None]:
    """What the same Jetson would have reported in this mode."""

    def change(plain: dict[str, Any]) -> None:
        clock = {"cores": [0, 1], "governor": "schedutil", "min_khz": 1510400 if pinned else 115200, "max_khz": 1510400}
        plain["settings"] |= {"power_mode": {"name": name, "number": number}, "cpu_clocks": [clock], "cpu_limit": 1.5}

    return change


def before_settings(plain: dict[str, Any]) -> None:
    """As it was written by a verifier of schema 1.1."""
    plain["schema_version"] = "1.1"
    del plain["settings"]
    for row in plain["results"]:
        del row["threads"]


def test_devices_that_were_measured_in_another_power_mode_are_seen_to_be_that(
    report: Path, export: Path, tmp_path: Path
) -> None:
    places = [Path(shutil.copy(report, tmp_path / f"{name}.json")) for name in ("fast", "slow", "pinned", "old")]
    changes = power_mode("MAXN", 0), power_mode("15W", 2), power_mode("MAXN", 0, pinned=True), before_settings
    for path, change in zip(places, changes, strict=True):
        rewrite(path, change)
    devices = devices_of(read_reports(places))
    page = devices_page(devices)
    assert [said for said in page.notices if "settings" in said] == [
        "measured with different settings, power mode: MAXN (0) on fast, pinned; 15W (2) on slow; not known of old",
        "measured with different settings, pinned clocks: none on fast, slow; CPU on pinned; not known of old",
    ]
    (they_are,) = next(section for section in page.sections if section.id == "devices").tables
    lines = {line.cells[0].text: [cell.text for cell in line.cells] for line in they_are.lines}
    assert lines["power mode"] == ["power mode", "MAXN (0)", "15W (2)", "MAXN (0)", "not recorded"]
    assert lines["CPU clocks"] == ["CPU clocks", "115 to 1510 MHz", "115 to 1510 MHz", "1510 MHz", "–"]
    assert "of which control groups leave 1.5 processors' time" in lines["cores"][1]
    assert lines["threads"][1].startswith("openvino ")
    assert lines["threads"][4] == "–"
    decision = next(section for section in page.sections if section.id == "decision").tables[0]
    assert [line.cells[0].note.rpartition(", ")[2] for line in decision.lines[:2]] == [
        "power mode MAXN (0)",
        "power mode 15W (2)",
    ]
    assert "power mode" not in decision.lines[3].cells[0].note
    own, _ = page_of(read_subject(export, reports=places[:2]))
    lead = next(section for section in own.sections if section.id == "devices").lead
    (said,) = [text for text in lead if "settings" in text]
    assert said == "measured with different settings, power mode: MAXN (0) on fast; 15W (2) on slow"


def test_devices_with_the_same_settings_are_not_said_to_differ(report: Path, tmp_path: Path) -> None:
    """Nor is one of which they are not known."""
    places = [Path(shutil.copy(report, tmp_path / f"{name}.json")) for name in ("one", "two", "old")]
    changes = (power_mode("MAXN", 0), power_mode("MAXN", 0), before_settings)
    reports = [rewrite(path, change) for path, change in zip(places, changes, strict=True)]
    page = devices_page(devices_of(read_reports(reports)))
    assert not [notice for notice in page.notices if "settings" in notice]


def test_the_page_lies_beside_the_report_and_never_in_a_bundle(report: Path, copy: Path, once_bundle: Path) -> None:
    made = write_reports([copy])
    assert made.models is None
    assert made.devices[0].folder == copy.parent / "report"
    (told,) = made.as_json()["devices"][0]["told"]
    assert (told["device"], told["reference"], told["missing"]) == ("orin-nano", "onnxruntime fp32", None)
    assert beside(once_bundle / "device-report.json") == once_bundle.parent / "report"


def test_a_report_in_a_bundle_is_of_that_bundle(copy: Path, once_bundle: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "verify.py"):
        (tmp_path / "bundle").mkdir(exist_ok=True)
        shutil.copy(once_bundle / name, tmp_path / "bundle")
    inside = Path(shutil.copy(copy, tmp_path / "bundle/device-report.json"))
    assert write_reports([inside]).devices[0].folder == tmp_path / "report"
    rewrite(inside, lambda plain: plain["bundle"].update(id="d" * 64))
    (refused,) = write_reports([inside]).refused
    assert "of another bundle" in refused.what


def test_mistakes_say_what_to_do_instead(
    copy: Path, export: Path, once_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = convnextpose_here(monkeypatch, capsys, "report", once_bundle, cwd=export)
    assert_three_parts(bundle, 2)
    assert "is a bundle" in bundle.stderr
    assert f"convnextpose report {once_bundle}/device-report.json" in bundle.stderr
    for wrong in (
        ("report", export / "nothing.json"),
        ("report", export / "manifest.json"),
        ("report", copy, "--gate", copy),
        ("report", export, export.parent / "other", copy),
    ):
        assert_three_parts(convnextpose_here(monkeypatch, capsys, *wrong, cwd=export), 2)
    assert not list(export.rglob("report.html"))
