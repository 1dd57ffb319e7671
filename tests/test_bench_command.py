"""``convnextpose bench`` on the demo checkpoint, in real processes; nothing is asked of how fast they are."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.candidates import find_candidates
from bench.exported import read_export
from bench.result import read_result
from bench.timed_parity import ParityJudge
from cli.console import ConsoleNarrator
from export.errors import BadInput
from export.progress import Progress
from tests.bench_quick import children
from tests.command_line import assert_three_parts, convnextpose, convnextpose_here


@pytest.fixture(scope="module")
def measured(demo_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "XS-atto"
    shutil.copytree(demo_export, folder)
    run = convnextpose(
        *("bench", folder, "--budget", "3", "--threads", "1", "--precision", "fp32", "--profile"), cwd=folder.parent
    )
    assert run.returncode == 0, run.stderr
    assert "onnxruntime" in run.stdout
    assert "Where the time goes" in run.stdout
    return folder


def test_every_row_is_proven_and_judged(measured: Path) -> None:
    result = read_result(measured / "bench/result.json")
    assert [row.id for row in result.rows] == ["pytorch/fp32/b1/t1", "onnxruntime/fp32/b1/t1", "openvino/fp32/b1/t1"]
    for row in result.rows:
        assert row.parity is not None
        assert (row.parity["outcome"], row.precision_used, row.facts["threads"]) == ("pass", "fp32", 1)
        assert row.verdict in ("stable", "noisy", "unstable")
        assert row.latency["host_e2e"].samples >= 5
    assert "device" in result.rows[2].latency
    assert {row.runtime for row in result.not_run} >= {"tensorrt", "pytorch-compile"}
    assert result.samples is not None
    with np.load(measured / "bench" / result.samples.path) as samples:
        for about in ("launch", "round", "position"):
            assert len(samples[f"pytorch/fp32/b1/t1|host_e2e|{about}"]) == result.rows[0].latency["host_e2e"].samples


def test_every_row_goes_from_photo_to_joints_and_has_its_throughput(measured: Path) -> None:
    result = read_result(measured / "bench/result.json")
    for row in result.rows:
        way, best = row.image_to_joints, row.best_throughput
        assert way is not None, row.image_to_joints_reason
        assert (way.image_width, way.image_height) == (1280, 720)
        assert way.samples >= 3
        assert way.total_p50_ms >= way.network_p50_ms > 0
        assert best is not None, row.throughput_reason
        assert best.seconds >= 1
        assert row.launches is None
    flown = {row.runtime: {point.in_flight for point in row.throughput or ()} for row in result.rows}
    assert flown["pytorch"] == {1}
    assert flown["onnxruntime"] >= {1, 2}
    assert flown["openvino"] >= {1, 2}


def test_the_coordinator_stays_small(measured: Path) -> None:
    """It runs no network, so that it needs none of the libraries that do."""
    peak_mib = read_result(measured / "bench/result.json").coordinator_peak_mib
    assert peak_mib is not None
    assert 0 < peak_mib < 300


def test_ctrl_c_writes_what_was_measured_and_says_that_it_is_not_all(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(narrator: ConsoleNarrator, step: str) -> Progress:
        def progress(text: str, share: float | None = None) -> None:
            if text == "launch 1 of 3: round 3":
                raise KeyboardInterrupt

        return progress

    folder = tmp_path / "XS-atto"
    shutil.copytree(measured, folder)
    monkeypatch.setattr(ConsoleNarrator, "listener", interrupted)
    command = ("bench", folder, "--publish", "--threads", "1", "--runtime", "onnxruntime", "--budget", "20")
    run = convnextpose_here(monkeypatch, capsys, *command, cwd=tmp_path)
    assert run.returncode == 130
    assert "interrupted" in run.stdout
    assert read_result(folder / "bench/result.json").complete  # the one that was there stays
    result = read_result(folder / "bench/interrupted/result.json")
    assert (result.complete, result.rounds, result.mode, result.stop_reason) == (False, 2, "publish", None)
    for row in result.rows:
        assert row.latency["host_e2e"].rounds == 2
        assert row.launches is not None
        assert [launch.speed_up for launch in row.launches] == [None]  # two rounds make no interval, so no speed-up
    assert children() == []


def test_every_row_has_a_profile_beside_its_latency(measured: Path) -> None:
    result = read_result(measured / "bench/result.json")
    assert {peak.precision for peak in result.peaks} >= {"fp32", "int8"}
    for row in result.rows:
        assert row.profile is not None, row.profile_reason
        assert row.profile.unprofiled_p50_ms == row.latency["host_e2e"].p50_ms
        assert (row.profile.remark, row.profile.peak_precision) == (None, "fp32")
        assert sum(part.macs for part in row.profile.parts) > 8e8
        assert all(part.peak_share is not None for part in row.profile.parts if part.macs)


def with_moved(measured: Path, place: Path, names: tuple[str, ...]) -> Path:
    """A copy of the export in which these arrays of the truth are not what they were."""
    folder = place / "XS-atto"
    shutil.copytree(measured, folder)
    with np.load(folder / "parity/truth.npz") as known:
        moved = {name: known[name] + known[name].dtype.type(name in names) for name in known}
    np.savez(folder / "parity/truth.npz", **moved)
    return folder


def test_what_computes_something_else_is_not_timed(measured: Path, tmp_path: Path) -> None:
    folder = with_moved(measured, tmp_path, ("truth", "reference"))
    command = ("bench", folder, "--budget", "1", "--threads", "1", "--runtime", "onnxruntime", "--json")
    run = convnextpose(*command, cwd=tmp_path)
    rows = json.loads(run.stdout)["rows"]
    assert [row["verdict"] for row in rows] == ["invalid", "invalid"]
    assert all(row["latency"] == {} and "error" in row["reasons"][0] for row in rows)


def test_mistakes_are_told_in_three_parts(measured: Path, tmp_path: Path) -> None:
    assert_three_parts(convnextpose("bench", tmp_path / "nowhere", cwd=tmp_path), 2)
    assert_three_parts(convnextpose("bench", measured, "--runtime", "abacus", cwd=tmp_path), 2)
    assert_three_parts(convnextpose("bench", measured, "--precision", "fp8", cwd=tmp_path), 2)
    assert_three_parts(convnextpose("bench", measured, "--deadline", "soon", cwd=tmp_path), 2)


def test_a_missing_library_is_a_row_with_its_reason(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.candidates.find_spec", lambda name: None if name == "openvino" else object())
    found, not_run = find_candidates(read_export(measured), ("onnxruntime", "openvino"), None, 1)
    assert [candidate.runtime for candidate in found] == ["pytorch", "onnxruntime"]
    assert {(row.runtime, row.reason) for row in not_run} >= {("openvino", "openvino is not installed")}


def test_a_precision_that_is_not_there_is_refused(measured: Path) -> None:
    with pytest.raises(BadInput, match="holds no int4"):
        find_candidates(read_export(measured), ("onnxruntime",), ("int4",), 1)


def test_an_identical_pair_ends_with_the_exit_code_of_its_outcome(measured: Path) -> None:
    """Which outcome that is depends on the machine; ``test_gate`` and ``test_replay`` say how seldom it is FAIL."""
    command = ("compare", measured, measured, "--runtime", "onnxruntime", "--precision", "fp32", "--threads", "1")
    run = convnextpose(*command, "--budget", "3", "--json", cwd=measured.parent)
    record = json.loads(run.stdout)
    assert run.returncode == {"PASS": 0, "IMPROVED": 0, "FAIL": 1, "INCONCLUSIVE": 3}[record["outcome"]]
    (cell,) = record["cells"]
    assert (cell["id"], cell["boundary"]) == ("onnxruntime/fp32/b1/t1", "host_e2e")
    assert cell["outcome"] != "FAIL" or cell["slowdown"]["low"] > 1.03


def test_a_candidate_that_computes_something_else_fails_the_gate(measured: Path, tmp_path: Path) -> None:
    folder = with_moved(measured, tmp_path, ("truth", "reference"))
    command = ("compare", measured, folder, "--runtime", "onnxruntime", "--precision", "fp32", "--threads", "1")
    run = convnextpose(*command, "--budget", "2", cwd=tmp_path)
    assert_three_parts(run, 1)
    assert "parity fail" in run.stderr


def test_exports_that_were_judged_on_other_images_are_not_compared(measured: Path, tmp_path: Path) -> None:
    folder = with_moved(measured, tmp_path, ("images",))
    command = ("compare", measured, folder, "--runtime", "onnxruntime", "--precision", "fp32", "--threads", "1")
    run = convnextpose(*command, "--budget", "2", cwd=tmp_path)
    assert_three_parts(run, 2)
    assert "other images" in run.stderr


def test_without_the_rounded_reference_a_precision_is_not_judged(measured: Path) -> None:
    """On weights that were never trained rounding is the only limit: without it anything would pass."""
    judge = ParityJudge(read_export(measured))
    with np.load(measured / "parity/truth.npz") as known:
        joints = known["truth"][:4]
    assert judge("fp32", joints)["outcome"] == "pass"
    found = judge("fp16", joints)
    assert found["outcome"] == "inconclusive"
    assert "rounding" in found["reason"]
    assert judge("fp4", joints)["outcome"] == "inconclusive"
