"""Latency table of an export: figures that its rounds allow, or the reason why there are none."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.harness.latency_table import latency_table, measure, table_of
from bench.harness.measurements import Measurements
from bench.sessions.exported import read_export
from export.common.progress import StepObserver
from export.pipeline.results import ExportResults
from export.pipeline.run import Export
from export.pipeline.steps import StepResult
from tests.support.bench_quick import worker_processes
from tests.support.bench_results import CANDIDATE, REFERENCE, measurements

EQUAL = {REFERENCE.id: [20.0] * 8, CANDIDATE.id: [10.0] * 8}
NOISY = list(10 * np.random.default_rng(0).lognormal(0, 0.5, 8))


def test_a_quiet_machine_has_both_latencies_and_a_speed_up() -> None:
    table = table_of(measurements(EQUAL), REFERENCE, CANDIDATE)
    assert table.reason is None
    assert [row.latency_ms for row in table.rows] == [20, 10]
    assert table.rows[0].speed_up is None
    assert table.rows[1].speed_up == pytest.approx(2)


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (measurements(EQUAL | {CANDIDATE.id: NOISY}), "too busy"),
        (measurements({name: values[:5] for name, values in EQUAL.items()}), "too few"),
        (measurements(EQUAL | {CANDIDATE.id: []}, faults=["parity fail: 7 mm"]), "parity fail: 7 mm"),
        (measurements(EQUAL | {CANDIDATE.id: []}, not_possible="no module"), "no module"),
    ],
)
def test_without_figures_there_is_a_reason(measured: Measurements, reason: str) -> None:
    table = table_of(measured, REFERENCE, CANDIDATE)
    assert reason in str(table.reason)
    for row in table.rows:
        assert (row.latency_ms, row.speed_up, row.speed_up_low, row.speed_up_high) == (None,) * 4


def test_an_interrupt_is_no_result(demo_export: Path) -> None:
    def interrupted(text: str, share: float | None = None) -> Any:
        if text == "round 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(read_export(demo_export), "fp32", interrupted)
    assert worker_processes() == []


def test_a_busy_machine_is_measured_again_by_the_next_run(
    demo_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "XS-atto"
    shutil.copytree(demo_export, folder)
    manifest = read_export(folder).manifest
    results = ExportResults(StepResult({"weights": "a"}, None), StepResult({}, None))
    results.onnx["fp32"] = StepResult({"onnx": "b"}, None)
    results.parity["fp32"] = StepResult({}, manifest.parity[0])
    export = Export(folder, results, manifest)
    answers = [
        table_of(measurements(EQUAL | {CANDIDATE.id: NOISY}), REFERENCE, CANDIDATE),
        table_of(measurements(EQUAL), REFERENCE, CANDIDATE),
    ]
    monkeypatch.setattr("bench.harness.latency_table.measure", lambda *_: answers.pop(0))
    busy, quiet, kept = (latency_table(export, StepObserver()) for _ in range(3))
    assert busy is not None
    assert busy.reason
    assert quiet is not None
    assert quiet.reason is None
    assert kept == quiet
    assert (folder / "manifest.json").is_file()  # which does not speak of the table
