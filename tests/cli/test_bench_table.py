"""What the tables on the terminal show of a result, and what they hide."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.harness.measurements import Measurements
from cli.render import bench as render_bench
from cli.render import passes as render_passes
from tests.support.bench_results import CANDIDATE, STEADY, measurements, result


def shown(of: Measurements, monkeypatch: pytest.MonkeyPatch, **changes: object) -> str:
    text = io.StringIO()
    for module in (render_bench, render_passes):
        monkeypatch.setattr(module, "out", Console(file=text, width=220, highlight=False))
    render_bench.print_benchmark(result(of, **changes), Path("result.json"))
    return text.getvalue()


def line(text: str, start: str) -> str:
    return next(found for found in text.splitlines() if found.startswith(start))


def test_the_table_names_boundary_samples_floors_and_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(measurements(STEADY), monkeypatch)
    assert "2.00 [2.00, 2.00]" in line(text, "onnxruntime")
    assert "n/a (150 of 662 calls)" in line(text, "onnxruntime")
    assert "150" in line(text, "host_e2e  onnxruntime")
    assert "boundary host_e2e" in text
    assert "A′ over A 1.000" in text
    assert "stable onnxruntime/fp32/b1/t2: ratio within" in text
    assert "not measured tensorrt: no NVIDIA driver" in text
    assert "weights: demo" in text


def test_the_table_of_an_unstable_and_of_an_invalid_row(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))
    unstable = line(shown(measurements(STEADY | {CANDIDATE.id: wild}), monkeypatch), "onnxruntime")
    assert " to " in unstable
    assert "[" not in unstable  # no interval, so no speed-up
    text = shown(measurements(STEADY, faults=["parity fail: 7 mm"]), monkeypatch)
    assert "10.00" not in text
    assert "invalid onnxruntime/fp32/b1/t2: parity fail: 7 mm" in text


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


def test_an_unstable_row_has_no_best_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = list(10 * np.random.default_rng(0).lognormal(0, 0.3, 30))
    of = measurements(STEADY | {CANDIDATE.id: wild}, image_to_joints=IMAGE, throughput=POINTS)
    assert "120.0" not in line(shown(of, monkeypatch), "onnxruntime  ")


def test_what_the_harness_itself_takes_is_said_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(measurements(STEADY), monkeypatch, harness_overhead_ns=100.0, coordinator_peak_mib=130.0)
    assert "the timing loop adds 100 ns to an iteration, 0.00100% of the fastest median" in text
    assert "the process that times the workers took 130 MiB" in text
    assert "too much" not in text
    quick = measurements({name: [value / 1e4 for value in of] for name, of in STEADY.items()})  # 0.001 ms
    assert "too much: the timing loop" in shown(quick, monkeypatch, harness_overhead_ns=100.0)
    assert "too much: the timing loop" in shown(measurements(STEADY), monkeypatch, harness_overhead_ns=1001.0)
