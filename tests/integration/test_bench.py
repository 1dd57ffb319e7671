"""``convnextpose bench`` and ``compare`` as users call them: exit codes, files, refusals. Speed is never asserted."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gate import compare
from bench.harness import benchmark
from bench.harness.measurements import Measurements
from bench.results.result import read_result
from cli.console import ConsoleObserver
from export.common.progress import Progress
from tests.bench.gate.planted import measured_pair
from tests.support.bench_quick import worker_processes
from tests.support.command_line import assert_three_parts, convnextpose, in_process
from tests.support.short_bench import short_modes

RESULT_KEYS = {
    *("schema_version", "kind", "created", "model", "weights", "complete", "mode", "protocol", "stop_reason"),
    *("precision_reached", "rounds", "environment", "fingerprint", "sensors", "reference_id", "control"),
    *("harness_overhead_ns", "coordinator_peak_mib", "rows", "not_run", "samples"),
}
ROW_KEYS = {
    *("id", "runtime", "precision", "precision_used", "batch", "threads", "artifact", "artifact_sha256"),
    *("artifact_bytes", "is_reference", "verdict", "reasons", "parity", "latency", "speed_up", "launches", "warm_up"),
    *("cold_start", "memory", "image_to_joints", "image_to_joints_reason", "throughput", "throughput_reason"),
    *("profile", "profile_reason", "energy", "energy_reason", "facts", "description"),
}
LATENCY_KEYS = {
    *("samples", "rounds", "p50_ms", "round_median_low_ms", "round_median_high_ms", "max_ms", "percentiles"),
    "deadlines",
}
ONE_ROW = ("--threads", "1", "--runtime", "onnxruntime", "--precision", "fp32")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, run within this process; its benchmarks have short passes."""
    for name, mode in short_modes().items():
        monkeypatch.setattr(benchmark, name, mode)
    return lambda *arguments: in_process(*arguments, cwd=tmp_path)


@pytest.fixture(scope="module")
def measured(demo_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export with a short benchmark in it; no test changes it."""
    folder = tmp_path_factory.mktemp("bench") / "XS-atto"
    shutil.copytree(demo_export, folder)
    run = convnextpose(
        *("bench", folder, "--budget", "3", "--threads", "1", "--precision", "fp32", "--profile"),
        cwd=folder.parent,
        module="tests.support.short_bench",
    )
    assert run.returncode == 0, run.stderr
    assert "onnxruntime fp32" in run.stdout
    assert "next:" in run.stdout
    assert len(run.stdout.splitlines()) <= 25
    return folder


# The benchmark


def test_the_result_has_the_keys_that_others_read(measured: Path) -> None:
    plain = json.loads((measured / "bench/result.json").read_text())
    assert plain.keys() == RESULT_KEYS
    assert (plain["schema_version"], plain["kind"], plain["mode"], plain["complete"]) == ("1.3", "bench", "quick", True)
    for entry in plain["rows"]:
        assert entry.keys() == ROW_KEYS
        assert entry["latency"]["host_e2e"].keys() == LATENCY_KEYS
    assert {(skipped["runtime"], skipped["reason"] != "") for skipped in plain["not_run"]} >= {("tensorrt", True)}


def test_every_row_has_parity_and_quality(measured: Path) -> None:
    bench = read_result(measured / "bench/result.json")
    assert [entry.id for entry in bench.rows] == [
        f"{name}/fp32/b1/t1" for name in ("pytorch", "onnxruntime", "openvino")
    ]
    assert bench.reference_id == bench.rows[0].id
    for entry in bench.rows:
        assert entry.parity is not None
        assert (entry.parity["outcome"], entry.precision_used, entry.facts["threads"]) == ("pass", "fp32", 1)
        assert entry.verdict in ("stable", "noisy", "unstable")
        assert (entry.speed_up is None) == (entry.is_reference or entry.verdict == "unstable")
        assert entry.latency["host_e2e"].samples >= 5
    assert "device" in bench.rows[2].latency


def test_samples_are_beside_the_result(measured: Path) -> None:
    bench = read_result(measured / "bench/result.json")
    assert bench.samples is not None
    with np.load(measured / "bench" / bench.samples.path) as samples:
        for about in ("samples_ms", "launch", "round", "position"):
            assert len(samples[f"pytorch/fp32/b1/t1|host_e2e|{about}"]) == bench.rows[0].latency["host_e2e"].samples


def test_every_row_has_its_passes(measured: Path) -> None:
    bench = read_result(measured / "bench/result.json")
    for entry in bench.rows:
        way, best, profile = entry.image_to_joints, entry.best_throughput, entry.profile
        assert way is not None, entry.image_to_joints_reason
        assert (way.image_width, way.image_height) == (1280, 720)
        assert way.samples >= 3
        assert way.total_p50_ms >= way.network_p50_ms > 0
        assert best is not None, entry.throughput_reason
        assert best.seconds >= 0.05
        assert profile is not None, entry.profile_reason
        assert profile.remark is None
        assert sum(part.macs for part in profile.parts) > 8e8
        assert entry.launches is None
    in_flight = {entry.runtime: {point.in_flight for point in entry.throughput or ()} for entry in bench.rows}
    assert in_flight["pytorch"] == {1}
    assert in_flight["onnxruntime"] >= {1, 2} <= in_flight["openvino"]


def test_the_coordinator_stays_small(measured: Path) -> None:
    """It runs no network, so that it needs none of the libraries that do."""
    peak_mib = read_result(measured / "bench/result.json").coordinator_peak_mib
    assert peak_mib is not None
    assert 0 < peak_mib < 300


def test_a_second_run_measures_again_and_replaces_the_result(measured: Path, tmp_path: Path, here: Run) -> None:
    folder = tmp_path / "XS-atto"
    shutil.copytree(measured, folder)
    run = here("bench", folder, *ONE_ROW, "--budget", "1", "--json")
    assert run.returncode == 0, run.stderr
    plain = json.loads((folder / "bench/result.json").read_text())
    assert json.loads(run.stdout) == plain
    assert [entry["runtime"] for entry in plain["rows"]] == ["pytorch", "onnxruntime"]
    assert not (folder / "bench/interrupted").exists()


def test_ctrl_c_writes_an_interrupted_result_beside_the_complete_one(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Run
) -> None:
    def interrupted(observer: ConsoleObserver, step: str) -> Progress:
        def progress(text: str, share: float | None = None) -> None:
            if text == "launch 1 of 3: round 3":
                raise KeyboardInterrupt

        return progress

    folder = tmp_path / "XS-atto"
    shutil.copytree(measured, folder)
    monkeypatch.setattr(ConsoleObserver, "listener", interrupted)
    run = here("bench", folder, "--publish", "--threads", "1", "--runtime", "onnxruntime", "--budget", "20")
    assert run.returncode == 130
    assert "interrupted" in run.stdout
    assert read_result(folder / "bench/result.json").complete  # the one that was there stays
    bench = read_result(folder / "bench/interrupted/result.json")
    assert (bench.complete, bench.rounds, bench.mode, bench.stop_reason) == (False, 2, "publish", None)
    for entry in bench.rows:
        assert entry.latency["host_e2e"].rounds == 2
        assert entry.launches is not None
        assert [launch.speed_up for launch in entry.launches] == [None]  # two rounds make no interval, so no speed-up
    assert worker_processes() == []


def with_shifted(measured: Path, place: Path, names: tuple[str, ...]) -> Path:
    """Return a copy of the export in which these arrays of the ground truth are shifted by one."""
    folder = place / "XS-atto"
    shutil.copytree(measured, folder)
    with np.load(folder / "parity/truth.npz") as arrays:
        shifted = {name: arrays[name] + arrays[name].dtype.type(name in names) for name in arrays}
    np.savez(folder / "parity/truth.npz", **shifted)
    return folder


def test_wrong_results_are_not_timed(measured: Path, tmp_path: Path, here: Run) -> None:
    folder = with_shifted(measured, tmp_path, ("truth", "reference"))
    run = here("bench", folder, *ONE_ROW, "--budget", "1", "--json")
    rows = json.loads(run.stdout)["rows"]
    assert [entry["verdict"] for entry in rows] == ["invalid", "invalid"]
    assert all(entry["latency"] == {} and "error" in entry["reasons"][0] for entry in rows)


def test_images_that_all_look_alike_end_with_exit_code_3(measured: Path, tmp_path: Path, here: Run) -> None:
    """Any joints agree on them, so that parity is inconclusive, and no row is valid."""
    folder = tmp_path / "XS-atto"
    shutil.copytree(measured, folder)
    with np.load(folder / "parity/truth.npz") as arrays:
        alike: dict[str, Any] = {name: np.repeat(arrays[name][:1], len(arrays[name]), axis=0) for name in arrays}
    np.savez(folder / "parity/truth.npz", **alike)
    run = here("bench", folder, *ONE_ROW, "--budget", "1")
    assert_three_parts(run, 3)
    assert "every row is invalid: parity cannot decide" in run.stderr
    assert "nothing to recommend" in run.stdout


@pytest.mark.parametrize(
    "option", [("--runtime", "abacus"), ("--precision", "fp8"), ("--deadline", "soon"), ("--reference", "abacus")]
)
def test_mistakes_are_reported_in_three_parts(measured: Path, here: Run, option: tuple[str, str]) -> None:
    assert_three_parts(here("bench", measured, *option), 2)


def test_a_folder_without_an_export_is_refused(tmp_path: Path, here: Run) -> None:
    assert_three_parts(here("bench", tmp_path / "nowhere"), 2)


@pytest.mark.parametrize("damage", ["truth", "onnx"])
def test_a_damaged_export_is_refused(measured: Path, tmp_path: Path, here: Run, damage: str) -> None:
    folder = tmp_path / "XS-atto"
    shutil.copytree(measured, folder)
    name = {"truth": "parity/truth.npz", "onnx": "onnx/XS-atto-fp32.onnx"}[damage]
    (folder / name).write_bytes((folder / name).read_bytes()[:-100])
    assert_three_parts(here("bench", folder, *ONE_ROW, "--budget", "1"), 2)


# The gate


def test_an_identical_pair_ends_with_the_exit_code_of_its_outcome(measured: Path, here: Run) -> None:
    """Which outcome that is depends on the machine."""
    run = here("compare", measured, measured, *ONE_ROW, "--budget", "3", "--json")
    record = json.loads(run.stdout)
    assert run.returncode == {"PASS": 0, "IMPROVED": 0, "FAIL": 1, "INCONCLUSIVE": 3}[record["outcome"]]
    assert (record["schema_version"], record["kind"], record["mode"]) == ("1.1", "compare", "paired")
    (cell,) = record["cells"]
    assert (cell["id"], cell["boundary"]) == ("onnxruntime/fp32/b1/t1", "host_e2e")
    assert cell["outcome"] != "FAIL" or cell["slowdown"]["low"] > 1.03


def test_a_candidate_with_wrong_results_fails_the_gate(measured: Path, tmp_path: Path, here: Run) -> None:
    folder = with_shifted(measured, tmp_path, ("truth", "reference"))
    run = here("compare", measured, folder, *ONE_ROW, "--budget", "2")
    assert_three_parts(run, 1)
    assert "parity fail" in run.stderr


def test_exports_with_other_parity_images_are_not_compared(measured: Path, tmp_path: Path, here: Run) -> None:
    folder = with_shifted(measured, tmp_path, ("images",))
    assert_three_parts(here("compare", measured, folder, *ONE_ROW, "--budget", "2"), 2)


def unloaded_pair() -> Measurements:
    pair = measured_pair()
    pair.records[compare.CANDIDATE].not_possible = "INT8 saturates on this processor"
    return pair


def interrupted_pair() -> Measurements:
    pair = measured_pair()
    pair.rounds.interrupted = True
    return pair


@pytest.mark.parametrize(
    ("candidate", "outcome", "exit_code"),
    [
        (measured_pair(), "PASS", 0),
        (measured_pair(late=2.0), "FAIL", 1),
        (unloaded_pair(), "INCONCLUSIVE", 3),
        (interrupted_pair(), "INCONCLUSIVE", 130),
    ],
)
def test_the_exit_code_of_the_gate(
    measured: Path,
    tmp_path: Path,
    here: Run,
    monkeypatch: pytest.MonkeyPatch,
    candidate: Measurements,
    outcome: str,
    exit_code: int,
) -> None:
    """The measurements are planted, so that no clock decides."""
    monkeypatch.setattr(compare, "measure_pair", lambda *_: candidate)
    run = here("compare", measured, measured, *ONE_ROW, "--json", "--out", tmp_path / "c.json")
    assert (run.returncode, json.loads(run.stdout)["outcome"]) == (exit_code, outcome)
    assert json.loads(run.stdout) == json.loads((tmp_path / "c.json").read_text())


def test_a_result_is_no_side_of_a_comparison(measured: Path, here: Run) -> None:
    assert_three_parts(here("compare", measured, measured / "bench/result.json"), 2)
