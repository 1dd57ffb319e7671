"""A folder like that of export, bench and evaluate, written in a moment: nothing is exported or measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.accuracy.record import Evaluation
from bench.harness.latency_table import LatencyRow, LatencyTable
from export.parity.budgets import REQUIRED_GRADE
from export.pipeline.manifest import Manifest, write_manifest
from tests.support.planted_bench import Planted, write_bench
from tests.support.planted_evaluation import evaluated, evaluation, loss
from tests.support.planted_manifest import ERROR_MM, manifest_of

ROUNDS = 24

USUAL = (
    Planted("onnxruntime", "fp32", 8.0),
    Planted("onnxruntime", "int8", 18.0, computes="fp32"),
    Planted("openvino", "fp32", 6.1),
    Planted("openvino", "fp16", 6.1, computes="fp32"),
    Planted("openvino", "bf16", 3.2),
    Planted("openvino", "int8", 2.4, computes="fp32+int8"),
)


def write_folder(
    folder: Path,
    planted: Sequence[Planted] = USUAL,
    *,
    model: str = "S",
    weights: str = "checkpoint",
    cpu: str = "A processor",
    evaluated: bool = True,
    extras: bool = True,
    reference_ms: float = 20.0,
    rounds: int = ROUNDS,
    **changes: Any,
) -> Path:
    """Write it; ``extras``: with throughput and profiles. ``changes`` are those of the result's fields."""
    precisions = sorted({of.precision for of in planted} | {"fp32"}, key=list(REQUIRED_GRADE).index)
    manifest = manifest_of(model, weights, precisions)
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, manifest)
    (folder / "latency.json").write_text(json.dumps(latency_table()))
    write_bench(folder / "bench", manifest, planted, cpu, extras, reference_ms, rounds, changes)
    if evaluated:
        (folder / "accuracy").mkdir(exist_ok=True)
        (folder / "accuracy/drawn.json").write_text(accuracy(manifest).model_dump_json())
    return folder


def latency_table() -> dict[str, Any]:
    """``latency.json``."""
    row = LatencyRow(
        runtime="onnxruntime",
        precision="fp32",
        precision_used="fp32",
        threads=2,
        latency_ms=8.1,
        speed_up=2.5,
        speed_up_low=2.4,
        speed_up_high=2.6,
        samples_ms=[[8.1]],
    )
    machine: dict[str, str | int] = {"cpu": "A processor", "cores": 2, "system": "Linux x86_64"}
    return LatencyTable(protocol="6 rounds", machine=machine, reason=None, rows=[row]).model_dump()


def accuracy(manifest: Manifest) -> Evaluation:
    """An evaluation of every file."""
    rows = [
        evaluated(
            "ONNX Runtime",
            of.precision,
            "onnxruntime 1.31.1, CPU",
            52 + ERROR_MM[of.precision] / 4,
            sha256=of.sha256,
            accuracy_loss_mm=loss(ERROR_MM[of.precision] / 4, 0.0, ERROR_MM[of.precision] / 2),
        )
        for of in manifest.artifacts
    ]
    last = {"sha256": rows[-1].sha256, "accuracy_loss_mm": rows[-1].accuracy_loss_mm}
    others = (
        evaluated("rounding, simulated", rows[-1].precision, "onnxruntime 1.31.1", 99.0, **last),
        evaluated("OpenVINO", rows[-1].precision, "openvino 2026.4.1", 52.4, **last),
        evaluated("pytorch", "fp32", "torch 2.13.0", 52.0, reference=True),
    )
    return evaluation([*rows, *others], manifest.weights.sha256, model=manifest.model)
