"""A folder as export, bench and evaluate leave it, written in a moment: nothing is exported or measured for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.assemble import ratio_record, row_of, sample_arrays
from bench.harness.candidates import Candidate, reference_candidate
from bench.harness.latency_table import LatencyRow, LatencyTable
from bench.harness.measurements import Measurements, WorkloadRecord
from bench.harness.rounds import Block, Rounds
from bench.harness.workload import HOST_E2E, Loaded, WarmUp
from bench.machine.environment import fingerprint
from bench.results.profile_record import LayerRecord, PartRecord, PeakRecord, ProfileRecord
from bench.results.result import (
    SAMPLES,
    ImageToJoints,
    LaunchRecord,
    NotRunRow,
    Result,
    SamplesFile,
    ThroughputPoint,
    write_result,
)
from bench.sessions.parts import PARTS
from export.common.files import sha256_file
from export.model.joint_sets import HUMAN36M
from export.parity.budgets import REQUIRED_GRADE, budget_for
from export.pipeline.manifest import Artifact, Manifest, write_manifest
from export.pipeline.reports import Tensor

REFERENCE = reference_candidate(2)
CONTROL = REFERENCE.id + "#control"
ROUNDS = 24
MEMORY = {"after_import": 50.0, "peak_after_load": 80.0, "peak_after_first": 90.0}
DRIFT_MM = {"fp32": 0.006, "fp16": 0.04, "bf16": 0.6, "int8": 2.0}
SIZE_BYTES = {"fp32": 14_144_035, "fp16": 7_096_577, "bf16": 7_096_577, "int8": 3_817_599}


@dataclass(frozen=True)
class Planted:
    """One row: how fast it is, and what is wrong with it."""

    runtime: str
    precision: str
    latency_ms: float
    noise: float = 0.002
    faults: tuple[str, ...] = ()
    drift_mm: float | None = None
    outcome: str = "pass"
    computes: str | None = None
    status: str | None = None


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
        (folder / "accuracy/drawn.json").write_text(json.dumps(accuracy(manifest)))
    return folder


def manifest_of(model: str, weights: str, precisions: Sequence[str]) -> Manifest:
    """Of a network that was never there."""
    field = {"field": "upsamplings", "declared": 2, "found": None, "used": 2, "source": "rule", "why": "a cube"}
    architecture = {
        "depths": [3, 3, 9, 3],
        "dims": [48, 96, 192, 384],
        "head_channels": [256] * 3,
        "head_kernels": [3] * 3,
        "joints": 18,
        "depth_dim": 32,
        "upsamplings": 2,
        "input_size": 256,
        "heatmap_size": 32,
    }
    return Manifest.model_validate(
        {
            "model": model,
            "weights": {"origin": weights, "path": None, "sha256": "a" * 64, "container": None},
            "architecture": architecture,
            "verdict": [
                field | {"agrees": True},
                field
                | {"field": "depth_dim", "declared": 64, "found": 32, "used": 32, "source": "weights"}
                | {"agrees": False},
            ],
            "nearest_models": [{"model": model, "differs_in": []}],
            "claims": [],
            "counts": {"parameters": 7_438_976, "state_elements": 7_440_000, "macs": 1_751_000_000},
            "artifacts": [artifact(model, of) for of in precisions],
            "not_run": [{"kind": "engine", "precision": "fp32", "status": "not run", "reason": "no builder here"}],
            "parity": [parity(model, of) for of in precisions],
            "tools": {"torch": "2.13.0", "onnxruntime": "1.31.1"},
        }
    )


def artifact(model: str, precision: str) -> Artifact:
    """One ONNX file, whose hash is a digit for each precision."""
    tensor = Tensor(name="image", dtype="float32", shape=("batch", 3, 256, 256))
    return Artifact(
        kind="onnx",
        runtime="onnx",
        precision=precision,
        path=f"onnx/{model}-{precision}.onnx",
        sha256=str(list(REQUIRED_GRADE).index(precision)) * 64,
        size_bytes=SIZE_BYTES[precision],
        inputs=(tensor,),
        outputs=(),
        status="parity pass",
        details={},
    )


def parity(model: str, precision: str) -> dict[str, Any]:
    """As a step leaves it; the left wrist is the worst joint."""
    mean = DRIFT_MM[precision]
    joints = [mean * (1 + index / 6) for index in range(len(HUMAN36M.joints))]
    worst = HUMAN36M.joints.index("L_Wrist")
    joints[worst] = 9 * mean
    error = {"mean_mm": mean, "p99_mm": 5 * mean, "max_mm": 9 * mean, "max_bins": mean, "max_pixels": mean}
    statistics = {"verdict": "known", "reason": "", "mean_shift": 0.01, "log_variance_ratio": 0.01, "images": 64}
    statistics |= {"limits": {"mean_shift": 0.06, "log_variance_ratio": 0.1}, "every_norm": "parity/norms.json"}
    images = {"source": "drawn figures, seed 1019", "count": 64, "sha256": "b" * 64, "notes": []}
    return {
        "artifact": f"onnx/{model}-{precision}.onnx",
        "precision": precision,
        "edition": precision,
        "outcome": "pass",
        "status": "pass",
        "reason": f"max distance {9 * mean:.3g} mm",
        "runtime": "onnxruntime 1.31.1, CPU",
        "images": images | {"statistics": statistics},
        "budget": asdict(budget_for(precision, trained=True)),
        "grade": "exact",
        **dict.fromkeys(("candidate", "reference", "floor"), error),
        "signal": {"over_images_mm": 300.0, "over_joints_mm": 300.0},
        "worst_image": 0,
        "worst_batch": 1,
        "batches": [1],
        "worst_joint_name": "L_Wrist",
        "worst_joint": worst,
        "per_joint_max_mm": joints,
        "runs": [],
        "not_run": [{"runner": "OpenVINO", "reason": "no bfloat16 here"}] if precision == "bf16" else [],
    }


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


def accuracy(manifest: Manifest) -> dict[str, Any]:
    """An evaluation of every file."""
    rows: list[dict[str, Any]] = [
        {
            "name": f"ONNX Runtime {of.precision}",
            "runtime": "ONNX Runtime",
            "run_by": "onnxruntime 1.31.1, CPU",
            "reference": False,
            "sha256": of.sha256,
            "mpjpe_mm": 52 + DRIFT_MM[of.precision] / 4,
            "price_mm": {"mean": DRIFT_MM[of.precision] / 4, "low": 0.0, "high": DRIFT_MM[of.precision] / 2},
        }
        for of in manifest.artifacts
    ]
    pytorch = {
        "name": "pytorch fp32",
        "runtime": "pytorch",
        "run_by": "torch 2.13.0",
        "reference": True,
        "sha256": None,
        "mpjpe_mm": 52.0,
    }
    last = rows[-1]["name"].split()[-1]
    others = [
        rows[-1] | {"name": f"{runtime} {last}", "runtime": runtime, "run_by": run_by, "mpjpe_mm": mpjpe_mm}
        for runtime, run_by, mpjpe_mm in (
            ("rounding, simulated", "onnxruntime 1.31.1", 99.0),
            ("OpenVINO", "openvino 2026.4.1", 52.4),
        )
    ]
    return {
        "schema_version": "1.0",
        "model": manifest.model,
        "weights": {"sha256": manifest.weights.sha256},
        "dataset": {"name": "Human3.6M, protocol 2", "samples": 2000},
        "contenders": [*rows, *others, pytorch | {"price_mm": None}],
    }


def write_bench(
    folder: Path,
    manifest: Manifest,
    planted: Sequence[Planted],
    cpu: str,
    extras: bool,
    reference_ms: float,
    rounds: int,
    changes: Mapping[str, Any],
) -> None:
    """``result.json`` and ``samples.npz``, assembled by the real code from scripted rounds."""
    rng = np.random.default_rng(0)
    files = {of.precision: of for of in manifest.artifacts}
    candidates = [Candidate(of.runtime, of.precision, 2, files[of.precision]) for of in planted]
    machine_state = rng.lognormal(0, 0.02, rounds)
    blocks, records = {}, {}
    for name, of in [
        (REFERENCE.id, Planted("pytorch", "fp32", reference_ms)),
        (CONTROL, Planted("pytorch", "fp32", reference_ms)),
        *((candidate.id, of) for candidate, of in zip(candidates, planted, strict=True)),
    ]:
        medians = of.latency_ms * machine_state * rng.lognormal(0, of.noise, rounds)
        blocks[name] = [
            Block(index, 0, {HOST_E2E: [float(v) for v in median * rng.lognormal(0, 0.03, 30)]})
            for index, median in enumerate(medians)
        ]
        records[name] = record_of(of)
    ticks = [{"steal_ticks": index // 9, "total_ticks": 400 * index} for index in range(rounds + 1)]
    sensors: list[Mapping[str, Any]] = [
        {**of, "load_1min": 1 + index / 9, "cpu_pressure_10s": 3.0, "cpu_clock_mhz": None, "gpus": []}
        for index, of in enumerate(ticks)
    ]
    measurements = Measurements(records, Rounds(blocks, completed=rounds, sensors=sensors))
    control = measurements.rounds.ratio(REFERENCE.id, CONTROL)
    rows = [row_of(of, measurements, REFERENCE.id, control, (33.3, 16.7)) for of in (REFERENCE, *candidates)]
    arrays = sample_arrays(measurements.rounds, rows)
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / SAMPLES, **arrays)  # type: ignore[arg-type]
    if extras:
        rows = [row.model_copy(update=more(row.runtime, row.verdict)) for row in rows]
    host = {"cpu": cpu, "usable_cores": 2, "machine": "x86_64", "governor": None, "memory_mib": 8000}
    environment = {"host": host, "gpus": [], "software": {"python": "3.11.2", "libraries": {"torch": "2.13.0"}}}
    missing = NotRunRow(runtime="tensorrt", precision=None, reason="there is no NVIDIA driver")
    fields: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "model": manifest.model,
        "weights": manifest.weights.origin,
        "complete": True,
        "mode": "quick",
        "protocol": {"threads": 2, "seed": 0},
        "stop_reason": "45 s were spent",
        "precision_reached": True,
        "rounds": rounds,
        "environment": environment,
        "sensors": sensors,
        "fingerprint": fingerprint(environment),
        "reference_id": REFERENCE.id,
        "control": ratio_record(control),
        "harness_overhead_ns": 80.0,
        "rows": rows,
        "not_run": [missing],
        "peaks_reason": None,
        "peaks": [PeakRecord(precision="fp32", library="torch", size=1024, gflops=100.0, runs=5)],
        "samples": SamplesFile(path=SAMPLES, sha256=sha256_file(folder / SAMPLES)),
    }
    write_result(folder, Result(**{**fields, **changes}))


def record_of(of: Planted) -> WorkloadRecord:
    """What its worker said."""
    facts = {"problems": [], "precision_used": of.computes or of.precision}
    loaded = Loaded(1, 0.5, 20, "described", facts, MEMORY, (HOST_E2E,))
    mean = of.drift_mm if of.drift_mm is not None else DRIFT_MM[of.precision]
    parity: dict[str, Any] = {
        "outcome": of.outcome,
        "status": of.status or of.outcome,
        "reason": f"mean distance {mean} mm",
        "images": 8,
    }
    return WorkloadRecord(
        loaded=loaded,
        warm_up=WarmUp("steady", 1, 10, (10, 10, 10)),
        faults=list(of.faults),
        parity=parity | {"mean_mm": mean, "p99_mm": 3 * mean, "max_mm": 5 * mean},
        memory_mib={"peak": 120.0},
    )


def more(runtime: str, verdict: str) -> dict[str, Any]:
    """Throughput, a profile, the way from a photo and three launches, of rows that were timed."""
    if verdict == "invalid":
        return {}
    shares = (0.03, 0.15, 0.15, 0.36, 0.14, 0.06, 0.06, 0.03, 0.02)
    macs = (1, 15, 15, 42, 15, 3, 9, 0, 0)
    parts = [
        PartRecord(
            part=part,
            ms=8 * share,
            time_share=share,
            macs=of * 10**7,
            macs_share=of / 100,
            gflops=of * 2.5 if of else None,
            peak_share=of / 40 if of else None,
        )
        for part, share, of in zip(PARTS, shares, macs, strict=True)
    ]
    profile = ProfileRecord(
        source="its profile",
        runs=30,
        call_p50_ms=8.5,
        call_mean_ms=8.6,
        unprofiled_p50_ms=8.0,
        slowdown=1.06,
        layers_ms=8.0,
        attributed=0.98,
        remark=None,
        peak_precision="fp32",
        parts=parts,
        layers=[LayerRecord(name="conv", origin="", part="stem", ms=0.24)],
    )
    points = [
        {"batch": batch, "in_flight": flight, "images_per_s": rate, "p50_ms": 1e3 * batch * flight / rate}
        | {"seconds": 5.0, "calls": 100}
        for batch, flight, rate in ((1, 1, 100.0), (2, 1, 140.0), (4, 1, 150.0), (4, 2, 170.0))
    ]
    way = {"image_width": 1280, "image_height": 720, "samples": 90, "total_p50_ms": 8.4, "crop_p50_ms": 0.1}
    way |= {"normalise_p50_ms": 0.25, "network_p50_ms": 8.0, "decode_p50_ms": 0.05}
    found: dict[str, Any] = {
        "profile": profile,
        "profile_reason": None,
        "image_to_joints": ImageToJoints.model_validate(way),
        "image_to_joints_reason": None,
        "launches": [LaunchRecord(p50_ms=ms, speed_up=None) for ms in (8.0, 8.1, 8.4)],
    }
    if runtime != "pytorch":
        found |= {"throughput": [ThroughputPoint.model_validate(of) for of in points], "throughput_reason": None}
    return found
