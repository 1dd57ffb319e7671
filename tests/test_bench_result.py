"""What a result may say of a row, how it is written and read, and what the table shows of it."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench.assemble import row_of, sample_arrays
from bench.candidates import Candidate, reference
from bench.entries import Entry
from bench.environment import fingerprint, share_with, steal_share
from bench.gpu_sensors import held_back
from bench.result import (
    INTERRUPTED,
    JSON_SCHEMA,
    Result,
    Row,
    SamplesFile,
    json_schema,
    place_for,
    read_result,
    write_result,
)
from bench.result_csv import result_csv
from bench.rounds import Measured, Visit
from bench.session import Session
from bench.worker import HOST_E2E, Loaded, WarmUp
from cli import render_bench, render_passes
from export.artifacts import sha256_file
from export.errors import BadInput

A, B = reference(2), Candidate("onnxruntime", "fp32", 2, None)
CONTROL = A.id + "#control"
MEMORY = {"after_import": 50.0, "peak_after_load": 80.0, "peak_after_first": 90.0}
QUIET: dict[str, Any] = {"steal_ticks": 0, "total_ticks": 0, "gpus": []}


def session(latencies_ms: Mapping[str, Sequence[float]], k: int = 5, **entry: object) -> Session:
    """Rounds with one latency each; what is given of ``entry`` is B's."""
    visits = {n: [Visit(i, 0, {HOST_E2E: [v] * k}) for i, v in enumerate(of)] for n, of in latencies_ms.items()}
    loaded = Loaded(1, 0.5, 20, "described", {"problems": [], "precision_used": "fp32"}, MEMORY, (HOST_E2E,))
    entries = {n: Entry(loaded=loaded, warm_up=WarmUp("steady", 1, 10, (10, 10, 10))) for n in latencies_ms}
    for name, value in entry.items():
        setattr(entries[B.id], name, value)
    sensors: list[Mapping[str, Any]] = [QUIET, QUIET | {"total_ticks": 1000}]
    return Session(entries, Measured(visits, rounds=len(latencies_ms[A.id]), sensors=sensors))


def row(of: Session, candidate: Candidate = B) -> Row:
    control = of.measured.ratio(A.id, CONTROL)
    return row_of(candidate, of.entries[candidate.id], of, A.id, control, (16.7,))


STILL = {A.id: [20.0] * 30, CONTROL: [20.0] * 30, B.id: [10.0] * 30}


def test_a_stable_row_has_all_figures_that_its_samples_allow() -> None:
    seen = row(session(STILL))
    latency = seen.latency[HOST_E2E]
    assert seen.verdict == "stable"
    assert seen.speed_up is not None
    assert seen.speed_up.median == pytest.approx(2)
    assert not seen.speed_up.same
    assert (latency.p50_ms, latency.samples, latency.rounds) == (10, 150, 30)
    assert {p.quantile: p.value_ms for p in latency.percentiles} == {
        0.5: 10,
        0.9: 10,
        0.95: 10,
        0.99: None,
        0.999: None,
    }
    assert (latency.deadlines[0].missed, row(session(STILL), A).latency[HOST_E2E].deadlines[0].missed) == (0, 150)


def test_the_reference_has_no_speed_up_and_its_controls_verdict() -> None:
    seen = row(session(STILL), A)
    assert (seen.is_reference, seen.speed_up, seen.verdict) == (True, None, "stable")
    biased = row(session(STILL | {CONTROL: [18.0] * 30}), A)
    assert biased.verdict == "unstable"


def test_what_two_instances_of_the_reference_differ_by_hides_what_is_not_twice_as_large() -> None:
    lucky = STILL | {CONTROL: [19.4] * 30}
    near, far = row(session(lucky | {B.id: [19.0] * 30})), row(session(lucky))
    assert (near.verdict, far.verdict) == ("noisy", "noisy")
    assert "no difference below 6% is told" in near.reasons[0]
    assert near.speed_up is not None
    assert far.speed_up is not None
    assert (near.speed_up.same, far.speed_up.same) == (True, False)


def with_control(latencies_ms: Sequence[float], **entry: object) -> Session:
    """A session with a defect in the reference's second instance."""
    of = session(STILL | {CONTROL: latencies_ms})
    for name, value in entry.items():
        setattr(of.entries[CONTROL], name, value)
    return of


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (with_control([20.0] * 6, faults=["round 7: the worker was lost"]), "round 7: the worker was lost"),
        (with_control([], faults=["killed by SIGKILL"]), "killed by SIGKILL"),
        (with_control([20.0] * 30, warm_up=WarmUp("not_steady", 30, 10)), "did not end in a steady state"),
        (with_control(list(np.linspace(18.8, 21.2, 30))), "drifted by"),
        (with_control([18.6, 21.4] * 15), "are equal is known to"),
    ],
)
@pytest.mark.parametrize("candidate", [A, B])
def test_without_a_control_that_is_to_be_believed_nothing_is_told(
    of: Session, reason: str, candidate: Candidate
) -> None:
    seen = row(of, candidate)
    assert seen.verdict == "unstable"
    assert any(reason in said for said in seen.reasons)
    assert seen.speed_up is None


def test_late_calls_are_counted_where_there_are_rounds_enough() -> None:
    few = row(session({name: of[:10] for name, of in STILL.items()}))
    assert (few.verdict, few.latency[HOST_E2E].deadlines) == ("stable", [])


def test_an_interrupted_result_never_replaces_a_whole_one(tmp_path: Path) -> None:
    whole, stopped = result(session(STILL)), result(session(STILL), complete=False)
    assert place_for(tmp_path, complete=False) == tmp_path
    write_result(place_for(tmp_path, complete=False), stopped)
    assert place_for(tmp_path, complete=False) == tmp_path
    write_result(place_for(tmp_path, complete=True), whole)
    assert place_for(tmp_path, complete=False) == tmp_path / INTERRUPTED
    assert place_for(tmp_path, complete=True) == tmp_path


def test_an_unstable_row_has_no_speed_up_and_no_tail() -> None:
    wild = 10 * np.random.default_rng(0).lognormal(0, 0.3, 30)
    seen = row(session(STILL | {B.id: list(wild)}))
    assert seen.verdict == "unstable"
    assert seen.speed_up is None
    tails = [p.value_ms for p in seen.latency[HOST_E2E].percentiles if p.quantile > 0.5]
    assert tails == [None] * 4


@pytest.mark.parametrize("fault", ["parity fail: 7 mm", "round 3: the worker was lost"])
def test_an_invalid_row_has_no_timing_at_all(fault: str) -> None:
    of = session(STILL, faults=[fault])
    seen = row(of)
    assert (seen.verdict, seen.reasons) == ("invalid", [fault])
    assert (seen.latency, seen.speed_up, seen.warm_up, seen.cold_start) == ({}, None, None, None)
    assert not any(key.startswith(B.id) for key in sample_arrays(of.measured, [seen]))


def test_what_was_never_measured_is_invalid_and_not_an_error() -> None:
    assert row(session(STILL | {B.id: []})).reasons == ["not measured"]


def test_without_six_rounds_there_is_no_speed_up() -> None:
    seen = row(session({name: of[:5] for name, of in STILL.items()}))
    assert (seen.verdict, seen.speed_up) == ("unstable", None)


def test_a_restless_warm_up_and_stolen_time_are_said() -> None:
    restless = row(session(STILL, warm_up=WarmUp("not_steady", 30, 10)))
    assert "warming up" in restless.reasons[0]
    of = session(STILL)
    of.measured.sensors = [QUIET, QUIET | {"total_ticks": 1000, "steal_ticks": 20}]
    assert "stolen" in row(of).reasons[0]


def test_samples_keep_their_round() -> None:
    of = session(STILL)
    arrays = sample_arrays(of.measured, [row(of)])
    assert len(arrays[f"{B.id}|host_e2e|samples_ms"]) == 150
    assert list(arrays[f"{B.id}|host_e2e|round"][:6]) == [0, 0, 0, 0, 0, 1]


def result(of: Session, **changes: object) -> Result:
    environment = {"host": {"cpu": "a [processor]", "usable_cores": 2}}
    about = {"created": "2026-01-01T00:00:00+00:00", "model": "XS", "weights": "demo", "complete": True}
    how = {
        "mode": "quick",
        "protocol": {"threads": 2},
        "stop_reason": "enough",
        "precision_reached": True,
        "rounds": 30,
    }
    where = {"environment": environment, "fingerprint": "sha256:0", "sensors": [], "reference_id": A.id}
    ratio = of.measured.ratio(A.id, CONTROL)
    rest = {
        "control": vars(ratio) if ratio else None,
        "harness_overhead_ns": 100.0,
        "rows": [row(of, A), row(of)],
        "not_run": [{"runtime": "tensorrt", "precision": None, "reason": "no NVIDIA driver"}],
        "peaks": [],
        "peaks_reason": "--profile or --publish takes it",
        "samples": None,
    }
    return Result.model_validate({**about, **how, **where, **rest, **changes})


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


def shown(of: Session, monkeypatch: pytest.MonkeyPatch, **changes: object) -> str:
    text = io.StringIO()
    for module in (render_bench, render_passes):
        monkeypatch.setattr(module, "out", Console(file=text, width=220, highlight=False))
    render_bench.bench(result(of, **changes), Path("result.json"))
    return text.getvalue()


def line(text: str, start: str) -> str:
    return next(found for found in text.splitlines() if found.startswith(start))


def test_the_table_names_boundary_samples_floors_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(session(STILL), monkeypatch)
    assert "2.00 [2.00, 2.00]" in line(text, "onnxruntime")
    assert "n/a (150 < 662)" in line(text, "onnxruntime")
    assert "150" in line(text, "host_e2e  onnxruntime")
    assert "boundary host_e2e" in text
    assert "A′ over A 1.000" in text
    assert "stable onnxruntime/fp32/b1/t2: ratio within" in text
    assert "not measured tensorrt: no NVIDIA driver" in text
    assert "weights: demo" in text


def test_the_table_of_an_unstable_and_of_an_invalid_row(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))
    unstable = line(shown(session(STILL | {B.id: wild}), monkeypatch), "onnxruntime")
    assert " to " in unstable
    assert "[" not in unstable  # no interval, so no speed-up
    text = shown(session(STILL, faults=["parity fail: 7 mm"]), monkeypatch)
    assert "10.00" not in text
    assert "invalid onnxruntime/fp32/b1/t2: parity fail: 7 mm" in text


ENERGY = {"source": "RAPL, 1 package", "gross_j": 2.0, "net_j": 1.5, "inferences": 300, "seconds": 30.0}
ENERGY |= {"power_w": 20.0, "idle_w": 5.0, "idle_seconds": 10.0, "caveat": "planted caveat"}


def test_energy_is_shown_with_its_source_and_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    of = session(STILL, energy=ENERGY)
    text = shown(of, monkeypatch, protocol={"threads": 2, "energy": {"busy_s": 30}})
    assert line(text, "onnxruntime  fp32       2 ").split()[2:8] == ["2", "1.5", "20.0", "5.0", "30", "300"]
    assert "energy: planted caveat" in text
    assert "energy not available: --energy measures it" in text  # of the reference
    told = list(csv.DictReader(io.StringIO(result_csv(result(of)))))
    assert [(row["energy_gross_j"], row["energy_net_j"]) for row in told] == [("", ""), ("2.0", "1.5")]


def test_what_is_invalid_has_no_energy_either() -> None:
    seen = row(session(STILL, energy=ENERGY, faults=["crashed"]))
    assert (seen.energy, seen.energy_reason) == (None, "not measured: the row is invalid")


IMAGE: dict[str, float | None] = {
    "image_width": 1280,
    "image_height": 720,
    "samples": 77,
    "total_p50_ms": 10.5,
    "crop_p50_ms": 0.2,
}
IMAGE |= {"normalise_p50_ms": None, "network_p50_ms": 10.0, "decode_p50_ms": 0.1}
POINTS = [
    {"batch": batch, "in_flight": calls, "images_per_s": rate, "p50_ms": 1e3 / rate, "seconds": 1.0, "calls": 55}
    for batch, calls, rate in ((1, 1, 90.0), (2, 1, 120.0), (2, 2, 118.0))
]


def test_passes_are_shown_with_their_samples_and_the_best_of_them_in_the_decision_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = session(STILL, image_to_joints=IMAGE, throughput=POINTS)
    text = shown(of, monkeypatch)
    decision = line(text, "onnxruntime  ")
    assert "120.0 (2 × 1; 55)" in decision
    assert "1.5 (1)" in decision  # 1 s, 0.5 s and 20 ms in one process
    assert "n/a (150 < 662)  150 in 30          2.00 [" in decision  # samples of what stands before them
    (way,) = (found for found in text.splitlines() if "1280×720" in found)
    assert way.split()[2:] == ["1280×720", "10.50", "0.20", "–", "10.00", "0.10", "77"]
    start = line(text, "onnxruntime  fp32       1000 ")
    assert start.split()[-2:] == ["1", "1.0"]  # steady after a second
    assert "image to joints not available: not measured" in text  # of the reference
    told = list(csv.DictReader(io.StringIO(result_csv(result(of)))))[1]
    assert (told["image_to_joints_p50_ms"], told["best_images_per_s"]) == ("10.5", "120.0")
    assert (told["best_batch"], told["best_in_flight"]) == ("2", "1")


def test_an_unstable_row_has_no_best_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))
    of = session(STILL | {B.id: wild}, image_to_joints=IMAGE, throughput=POINTS)
    assert "120.0" not in line(shown(of, monkeypatch), "onnxruntime  ")
    told = list(csv.DictReader(io.StringIO(result_csv(result(of)))))[1]
    assert (told["image_to_joints_p50_ms"], told["best_images_per_s"]) == ("", "")


def test_what_the_harness_itself_takes_is_said_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(session(STILL), monkeypatch, harness_overhead_ns=100.0, coordinator_peak_mib=130.0)
    assert "the timing loop adds 100 ns to an iteration, 0.00100% of the fastest median" in text
    assert "the process that times the workers took 130 MiB" in text
    assert "too much" not in text
    quick = session({name: [value / 1e4 for value in of] for name, of in STILL.items()})  # 0.001 ms
    assert "too much: the timing loop" in shown(quick, monkeypatch, harness_overhead_ns=100.0)
    assert "too much: the timing loop" in shown(session(STILL), monkeypatch, harness_overhead_ns=1001.0)


def test_launches_stand_beside_the_interval_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    of = session(STILL | {B.id: [10.0] * 15 + [10.2] * 15})
    for name, visits in of.measured.visits.items():
        of.measured.visits[name] = [Visit(v.round, v.position, v.samples_ms, v.round // 15) for v in visits]
    of.launches = 2
    text = shown(of, monkeypatch, protocol={"threads": 2, "launches": 2})
    assert "10.00, 10.20 (range 2.0%)  2.000, 1.961 (range 2.0%)" in line(text, "onnxruntime  fp32       10.00, 10.20")
    assert "30 rounds in random order over 2 launches" in text
    assert "launches" not in shown(session(STILL), monkeypatch)


def test_an_interrupted_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "interrupted" in shown(session(STILL), monkeypatch, complete=False)


def test_the_csv_has_a_line_a_row_and_boundary_and_hides_what_the_table_hides() -> None:
    lines = list(csv.DictReader(io.StringIO(result_csv(result(session(STILL))))))
    assert [(line["id"], line["speed_up"] and round(float(line["speed_up"]), 6), line["p50_ms"]) for line in lines] == [
        (A.id, "", "20.0"),
        (B.id, 2.0, "10.0"),
    ]
    wild = list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))
    hidden = list(csv.DictReader(io.StringIO(result_csv(result(session(STILL | {B.id: wild}))))))[1]
    assert (hidden["verdict"], hidden["speed_up"], hidden["p50_ms"]) == ("unstable", "", "")
    gone = list(csv.DictReader(io.StringIO(result_csv(result(session(STILL, faults=["crashed"]))))))[1]
    assert (gone["boundary"], gone["p50_ms"], gone["reasons"]) == ("", "", "crashed")


# Environment


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
