"""A result as a file: read as it was written, refused if it is of another kind, and where it was measured."""

import json
import math
from pathlib import Path

import pytest

from bench.environment import fingerprint, share_with, steal_share
from bench.gpu_sensors import held_back
from bench.result import INTERRUPTED, JSON_SCHEMA, SamplesFile, json_schema, place_for, read_result, write_result
from export.artifacts import sha256_file
from export.errors import BadInput
from tests.bench_results import STILL, result, session


def test_an_interrupted_result_never_replaces_a_whole_one(tmp_path: Path) -> None:
    whole, stopped = result(session(STILL)), result(session(STILL), complete=False)
    assert place_for(tmp_path, complete=False) == tmp_path
    write_result(place_for(tmp_path, complete=False), stopped)
    assert place_for(tmp_path, complete=False) == tmp_path
    write_result(place_for(tmp_path, complete=True), whole)
    assert place_for(tmp_path, complete=False) == tmp_path / INTERRUPTED
    assert place_for(tmp_path, complete=True) == tmp_path


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = result(session(STILL))
    assert read_result(write_result(tmp_path, made)) == made


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="finite"):
        result(session(STILL), harness_overhead_ns=math.nan)


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda d: d | {"schema_version": "1.0"}, "schema_version 1.0"),
        (lambda d: {k: v for k, v in d.items() if k != "schema_version"}, "schema_version None"),
        (lambda d: d | {"surprise": 1}, "surprise"),
        (lambda d: d | {"rows": [{}]}, "rows.0"),
        (lambda d: [d], "schema_version None"),
    ],
)
def test_another_schema_is_refused_by_name(tmp_path: Path, damage: object, seen: str) -> None:
    path = write_result(tmp_path, result(session(STILL)))
    assert callable(damage)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(BadInput) as failure:
        read_result(path)
    assert seen in failure.value.seen


@pytest.mark.parametrize("content", ["{", "[" * 100_000])
def test_no_json_and_no_file_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadInput, match="no result at"):
        read_result(tmp_path / "result.json")
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(BadInput, match="not JSON"):
        read_result(tmp_path / "result.json")


def test_samples_of_another_run_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "samples.npz").write_bytes(b"old")
    digest = sha256_file(tmp_path / "samples.npz")
    path = write_result(tmp_path, result(session(STILL), samples=SamplesFile(path="samples.npz", sha256=digest)))
    read_result(path)
    (tmp_path / "samples.npz").write_bytes(b"new")
    with pytest.raises(BadInput, match="does not belong"):
        read_result(path)


def test_the_checked_in_schema_is_current() -> None:
    text = "write bench.result.json_schema() to bench/result.schema.json"
    assert JSON_SCHEMA.read_text(encoding="utf-8") == json_schema(), text


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
