"""The tables of ``bench --verbose``: their rows, and what is left out."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.harness.measurements import Measurements
from bench.passes.layer_times import Profile
from bench.report.measurement import measurement_of
from bench.report.model_files import ModelFiles
from bench.report.recommend import recommend
from bench.results.profile_record import profile_record
from bench.sessions.protocol import LayerTime
from cli.render import bench, view
from export.pipeline.manifest import read_manifest
from tests.support.bench_results import CANDIDATE, STEADY, measurements, result
from tests.support.checkpoints import TINY
from tests.support.report_folder import write_folder

WILD = {CANDIDATE.id: list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))}
POINTS = [{"batch": 2, "in_flight": 1, "images_per_s": 120.0, "p50_ms": 16.7, "seconds": 1.0, "calls": 55}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("table") / "S", extras=False)


def shown(folder: Path, monkeypatch: pytest.MonkeyPatch, measured: Measurements, **changes: object) -> str:
    """Return the text of one result, in the place of that of an export."""
    text, made = io.StringIO(), result(measured, **changes)
    for module in (bench, view):
        monkeypatch.setattr(module, "out", Console(file=text, width=400, highlight=False))
    files = ModelFiles(folder, read_manifest(folder / "manifest.json"), made, (), None)
    bench.print_benchmark(recommend(measurement_of(files, "convnextpose bench")), made)
    return text.getvalue()


def test_the_table_has_intervals_floors_and_reasons(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(folder, monkeypatch, measurements(STEADY))
    for part in ("2.00 [2.00, 2.00]", "n/a (150 of 662 calls)", "control: the reference over itself 1.00"):
        assert part in text
    assert "not measured tensorrt: no NVIDIA driver" in text
    assert "parity fail: 7 mm" in shown(folder, monkeypatch, measurements(STEADY, faults=["parity fail: 7 mm"]))


def test_an_unstable_row_has_neither_speed_up_nor_throughput(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(folder, monkeypatch, measurements(STEADY | WILD, throughput=POINTS))
    assert "not ranked" in text
    assert "120" not in text


def test_a_requested_pass_without_figures_has_its_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = measurements(STEADY)
    assert "energy" not in shown(folder, monkeypatch, steady)  # nobody requested it
    without = measurements(STEADY, energy_reason="no counter of joules", image_fault="SIGKILL")
    text = shown(folder, monkeypatch, without)
    assert "no energy of onnxruntime fp32: no counter of joules" in text
    assert "no image to joints of onnxruntime fp32: SIGKILL" in text
    rows = [row.model_copy(update={"profile_reason": "SIGABRT"}) for row in result(steady).rows]
    text = shown(folder, monkeypatch, steady, rows=rows)
    assert "no profile of pytorch fp32, onnxruntime fp32: SIGABRT" in text


def test_a_profile_that_is_mostly_not_attributed_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = measurements(STEADY)
    (first, second) = result(steady).rows
    layers = (LayerTime("backbone.stages.0", 1.0), LayerTime("the kernel", 3.0))
    record = profile_record(Profile("planted", layers, (4.0,)), TINY.deployed_layers(), 4.0)
    assert record.remark is not None
    rows = [first, second.model_copy(update={"profile": record, "profile_reason": None})]
    text = shown(folder, monkeypatch, steady, rows=rows)
    assert "Attributed to a part: 25% of onnxruntime fp32." in text
    assert f"onnxruntime fp32: {record.remark}." in text


def test_what_the_harness_itself_takes_is_said_and_judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = measurements(STEADY)
    text = shown(folder, monkeypatch, steady, harness_overhead_ns=100.0, coordinator_peak_mib=130.0)
    assert "the timing loop adds 100 ns to an iteration, 0.00100% of the fastest median" in text
    assert "the process that times the workers took 130 MiB" in text
    assert "too much" not in text
    quick = measurements({name: [value / 1e4 for value in of] for name, of in STEADY.items()})  # 0.001 ms
    assert "too much: the timing loop" in shown(folder, monkeypatch, quick, harness_overhead_ns=100.0)
    assert "too much: the timing loop" in shown(folder, monkeypatch, steady, harness_overhead_ns=1001.0)
