"""Device reports, as a bundle's verifier writes them, become measurements; what contradicts itself is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.report.device_facts import different_settings, facts_table
from bench.report.device_report_checks import read_reports, require_alike
from bench.report.device_reports import NO_CONTROL, measurements_of, same_machine
from bench.report.measurement import Measurement
from bench.report.recommend import recommend
from bench.report.reports import beside
from bench.report.rows import headline, name_of
from bench.report.write import write_reports
from export.common.errors import BadInput

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def copy(device_report: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(device_report, tmp_path / "orin.json"))


def rewrite(path: Path, change: Change) -> Path:
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))
    return path


def measured(*paths: Path) -> list[Measurement]:
    return measurements_of(read_reports(paths))


def timed(plain: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in plain["results"] if row["latency"])
    return row


def test_rows_are_over_the_devices_own_fp32_and_never_stable(device_report: Path) -> None:
    """The verifier times no second reference."""
    (of,) = measured(device_report)
    assert (of.device, of.model, of.reference) == ("orin", "once", "onnxruntime fp32")
    for row in of.rows:
        assert row.verdict in ("noisy", "unstable")
        assert (row.speed_up is not None) == (row.verdict == "noisy" and not row.is_reference)
    reference = next(row for row in of.rows if row.is_reference)
    assert NO_CONTROL in reference.reasons
    assert "tensorrt" in {one.runtime for one in of.not_run}


def test_without_onnx_runtime_another_fp32_is_the_reference(copy: Path) -> None:
    def without(plain: dict[str, Any]) -> None:
        plain["results"] = [row for row in plain["results"] if row["runtime"] != "onnxruntime"]

    (of,) = measured(rewrite(copy, without))
    assert of.reference == "openvino fp32"


def test_a_report_without_latency_recommends_nothing(copy: Path) -> None:
    def parity_alone(plain: dict[str, Any]) -> None:
        plain |= {"protocol": None, "overhead": None}
        plain["results"] = [row | {"latency": None} for row in plain["results"]]

    (of,) = measured(rewrite(copy, parity_alone))
    assert recommend(of).row is None
    assert {headline(row) for row in of.rows} == {None}


def test_rounds_in_which_the_reference_was_slow_do_not_decide(copy: Path) -> None:
    """The ratio is of rounds: a row that takes twice as long as the reference in each of them is half as fast."""

    def plant(plain: dict[str, Any]) -> None:
        base = next(row for row in plain["results"] if (row["runtime"], row["precision"]) == ("onnxruntime", "fp32"))
        rounds = [[(1.0 + index) * (1 + 0.0001 * k) for k in range(4)] for index in range(20)]
        _replace(base["latency"], rounds)
        for row in plain["results"]:
            if row["latency"] and row is not base:
                _replace(row["latency"], [[2 * sample for sample in samples] for samples in rounds])

    (of,) = measured(rewrite(copy, plant))
    ups = [row.speed_up for row in of.rows if not row.is_reference and row.latency]
    assert ups
    for up in ups:
        assert up is not None
        assert (up.low, up.median, up.high) == pytest.approx((0.5, 0.5, 0.5))
    choice = recommend(of)
    assert choice.row is not None
    assert choice.row.is_reference


def _replace(latency: dict[str, Any], rounds: list[list[float]]) -> None:
    ordered = sorted(sample for samples in rounds for sample in samples)
    count = len(ordered)
    latency |= {"rounds_ms": rounds, "rounds": len(rounds), "samples": count, "p99_ms": None}
    latency |= {"p50_ms": ordered[-(-count // 2) - 1], "p90_ms": ordered[-(-9 * count // 10) - 1]}


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda plain: timed(plain)["latency"].update(p50_ms=0.1), "its samples say"),
        (lambda plain: timed(plain)["latency"].update(samples=9), "9 samples in"),
        (lambda plain: timed(plain)["latency"]["rounds_ms"][0].append(-1.0), "samples in"),
        (lambda plain: timed(plain)["parity"]["limits"][0].update(allowed_mm=1e-9), "parity passed with"),
        (lambda plain: timed(plain)["parity"].update(outcome="fail"), "status pass, parity fail"),
        (lambda plain: timed(plain).update(parity=None), "no parity"),
        (lambda plain: plain.pop("device"), "device"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(copy: Path, change: Change, seen: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_reports([rewrite(copy, change)])
    assert seen in refused.value.detail


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["bundle"].update(weights_sha256="b" * 64),
        lambda plain: timed(plain).update(artifact_sha256="c" * 64),
    ],
)
def test_reports_of_different_weights_or_files_do_not_stand_in_one_table(
    device_report: Path, copy: Path, change: Change
) -> None:
    (first,), (second,) = read_reports([device_report]), read_reports([rewrite(copy, change)])
    with pytest.raises(BadInput, match=r"of different weights|on different files"):
        require_alike(*first, *second)
    assert write_reports([device_report, copy]).refused


def test_a_report_in_a_bundle_is_of_that_bundle_and_its_page_lies_beside_it(
    copy: Path, once_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "bundle").mkdir()
    for name in ("manifest.json", "verify.py"):
        shutil.copy(once_bundle / name, tmp_path / "bundle")
    inside = Path(shutil.copy(copy, tmp_path / "bundle/device-report.json"))
    assert write_reports([inside]).devices[0].folder == tmp_path / "report" == beside(inside)
    rewrite(inside, lambda plain: plain["bundle"].update(id="d" * 64))
    (refused,) = write_reports([inside]).refused
    assert "of another bundle" in refused.problem


def test_two_reports_of_one_machine_are_said_to_be_that(device_report: Path, copy: Path, tmp_path: Path) -> None:
    named = read_reports([device_report, copy.rename(tmp_path / "box.json")])
    (notice,) = same_machine(named, measurements_of(named))
    assert "orin and box" in notice
    alike = Path(shutil.copy(device_report, tmp_path / "orin.json"))
    assert [of.device for of in measured(device_report, alike)] == [f"orin ({device_report})", f"orin ({alike})"]


def power_mode(name: str, number: int, *, pinned: bool = False) -> Change:
    """What the same Jetson would have reported in this mode."""

    def change(plain: dict[str, Any]) -> None:
        clock = {"cores": [0, 1], "governor": "schedutil", "min_khz": 1510400 if pinned else 115200, "max_khz": 1510400}
        plain["settings"] |= {"power_mode": {"name": name, "number": number}, "cpu_clocks": [clock], "cpu_limit": 1.5}

    return change


def without_power_mode(plain: dict[str, Any]) -> None:
    """As a Jetson reports it on which nvpmodel does not answer."""
    plain["device"]["l4t"] = "36.4.0"
    plain["settings"] |= {"power_mode": None, "cpu_clocks": []}


def test_devices_that_measured_with_other_settings_are_seen_to_be_that(device_report: Path, tmp_path: Path) -> None:
    places = [Path(shutil.copy(device_report, tmp_path / f"{name}.json")) for name in ("fast", "slow", "pinned", "box")]
    changes = power_mode("MAXN", 0), power_mode("15W", 2), power_mode("MAXN", 0, pinned=True), without_power_mode
    found = measured(*(rewrite(path, change) for path, change in zip(places, changes, strict=True)))
    mode, pinned = different_settings(found)
    assert "MAXN (0) on fast, pinned; 15W (2) on slow; unknown on box" in mode
    assert "none on fast, slow; CPU on pinned" in pinned
    assert different_settings([found[0], found[3]]) == ()  # the unknown alone makes no difference
    lines = {line.cells[0].text: [cell.text for cell in line.cells] for line in facts_table(found).lines}
    assert lines["power mode"] == ["power mode", "MAXN (0)", "15W (2)", "MAXN (0)", "unknown"]
    assert lines["CPU clocks"][1:4] == ["115 to 1510 MHz", "115 to 1510 MHz", "1510 MHz"]
    notes = [line.cells[0].note for line in facts_table(found).lines]
    assert notes == sorted(notes)  # "differs" before "the same"


def test_every_row_of_the_report_is_there(device_report: Path) -> None:
    (of,) = measured(device_report)
    results = json.loads(device_report.read_text())["results"]
    assert {name_of(row) for row in of.rows} == {
        f"{one['runtime'].replace('_', '-')} {one['precision']}" for one in results if one["status"] != "not run"
    }
