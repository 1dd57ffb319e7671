"""A result as a file: read as it was written, refused if it is of another kind, and where it was measured."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.machine.environment import fingerprint, share_with, steal_share
from bench.machine.gpu_sensors import held_back
from bench.results.result import (
    INTERRUPTED,
    Result,
    SamplesFile,
    place_for,
    read_result,
    require_valid_rows,
    write_result,
)
from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.common.files import sha256_file
from tests.support.bench_results import STEADY, measurements, result


def test_an_interrupted_result_never_replaces_a_whole_one(tmp_path: Path) -> None:
    whole, stopped = result(measurements(STEADY)), result(measurements(STEADY), complete=False)
    assert place_for(tmp_path, complete=False) == tmp_path
    write_result(place_for(tmp_path, complete=False), stopped)
    assert place_for(tmp_path, complete=False) == tmp_path
    write_result(place_for(tmp_path, complete=True), whole)
    assert place_for(tmp_path, complete=False) == tmp_path / INTERRUPTED
    assert place_for(tmp_path, complete=True) == tmp_path


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = result(measurements(STEADY))
    assert read_result(write_result(tmp_path, made)) == made


def _edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_text("{"), id="cut off"),
        pytest.param(lambda path: path.write_text("[" * 100_000), id="nested without end"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe\x00"), id="not text"),
        pytest.param(_edited(lambda plain: [plain]), id="a list"),
        pytest.param(_edited(lambda plain: plain | {"schema_version": "1.2"}), id="earlier version"),
        pytest.param(_edited(lambda plain: plain | {"schema_version": "9.9"}), id="later version"),
        pytest.param(_edited(lambda plain: plain | {"surprise": 1}), id="unknown key"),
        pytest.param(_edited(lambda plain: plain | {"rows": [{}]}), id="empty row"),
        pytest.param(lambda path: (path.parent / "samples.npz").write_bytes(b"new"), id="other samples"),
    ],
)
def test_a_damaged_result_is_refused(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    samples = tmp_path / "samples.npz"
    samples.write_bytes(b"old")
    file = SamplesFile(path=samples.name, sha256=sha256_file(samples))
    path = write_result(tmp_path, result(measurements(STEADY), samples=file))
    read_result(path)
    damage(path)
    with pytest.raises(BadInput):
        read_result(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("environment",), {}),
        (("environment", "host"), {"cpu": "x"}),
        (("environment", "host", "memory_mib"), "much"),
        (("environment", "gpus"), [{}]),
        (("environment", "software", "libraries"), ["torch"]),
        (("protocol",), {}),
        (("protocol", "stop"), {"budget_s": {}}),
        (("rows", 1, "parity"), {}),
        (("rows", 1, "parity"), {"outcome": "pass", "reason": "", "mean_mm": "small"}),
        (("rows", 1, "facts", "executed"), {"nodes": 3}),
    ],
)
def test_open_dictionaries_have_what_is_read_of_them(tmp_path: Path, place: tuple[Any, ...], value: object) -> None:
    path = write_result(tmp_path, result(measurements(STEADY)))
    plain = json.loads(path.read_text())
    parent = plain
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    path.write_text(json.dumps(plain))
    with pytest.raises(BadInput, match=r"is no result of schema.*" + re.escape(".".join(map(str, place[:2])))):
        read_result(path)


def test_a_result_without_a_valid_artifact_fails() -> None:
    def planted(outcome: str, fault: str) -> Result:
        parity = {"outcome": outcome, "reason": "flat", "images": 8}
        return result(measurements(STEADY, parity=parity, faults=[fault] if fault else []))

    require_valid_rows(planted("pass", ""))
    with pytest.raises(Inconclusive, match="parity cannot decide"):
        require_valid_rows(planted("inconclusive", "parity inconclusive: flat"))
    for outcome, fault in (("fail", "parity fail: far"), ("pass", "crashed")):
        with pytest.raises(CheckFailed, match=fault):
            require_valid_rows(planted(outcome, fault))


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="finite"):
        result(measurements(STEADY), harness_overhead_ns=math.nan)


def test_steal_is_a_share_of_ticks_and_unknown_where_it_is_not_told() -> None:
    readings = [{"steal_ticks": 10, "total_ticks": 100}, {"steal_ticks": 15, "total_ticks": 200}]
    assert steal_share(readings) == pytest.approx(0.05)
    assert steal_share([{"steal_ticks": None, "total_ticks": None}] * 2) is None
    assert steal_share(readings[:1]) is None


def test_what_holds_a_gpu_back() -> None:
    assert held_back(0x1) == {"throttled": False, "power_capped": False}  # idle
    assert held_back(0x4) == {"throttled": False, "power_capped": True}
    assert all(held_back(bit)["throttled"] for bit in (0x8, 0x20, 0x40, 0x80))
    assert share_with([{"gpus": [held_back(0x20)]}, {"gpus": [held_back(0)]}], "throttled") == 0.5


def test_the_fingerprint_changes_with_a_library_and_not_with_uptime() -> None:
    host = {"cpu": "x", "usable_cores": 2, "machine": "x86_64", "governor": None, "uptime_s": 1.0}
    record = {"host": host, "gpus": [], "software": {"python": "3.11", "libraries": {"torch": "2.13"}}}
    later = record | {"host": host | {"uptime_s": 2.0}}
    newer = record | {"software": {"python": "3.11", "libraries": {"torch": "2.14"}}}
    assert fingerprint(record) == fingerprint(later) != fingerprint(newer)
