"""Benchmark results from scripted rounds, assembled by the real code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.assemble import row_of, sample_arrays
from bench.harness.candidates import Candidate
from bench.harness.measurements import Measurements, WorkloadRecord
from bench.harness.rounds import Block, Rounds
from bench.harness.workload import HOST_E2E, Loaded
from bench.machine.environment import fingerprint
from bench.results.profile_record import LayerRecord, PartRecord, ProfileRecord
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
from bench.stats.steadiness import WarmUp
from export.common.files import sha256_file
from export.pipeline.manifest import Manifest
from tests.support.planted_manifest import ERROR_MM

REFERENCE = Candidate("pytorch", "fp32", 2)
CONTROL = REFERENCE.id + "#control"


@dataclass(frozen=True)
class Planted:
    """One row: its latency and its faults."""

    runtime: str
    precision: str
    latency_ms: float
    noise: float = 0.002
    faults: tuple[str, ...] = ()
    error_mm: float | None = None
    outcome: str = "pass"
    computes: str | None = None
    status: str | None = None


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
        "control": control,
        "harness_overhead_ns": 80.0,
        "rows": rows,
        "not_run": [missing],
        "samples": SamplesFile(path=SAMPLES, sha256=sha256_file(folder / SAMPLES)),
    }
    write_result(folder, Result(**{**fields, **changes}))


def record_of(of: Planted) -> WorkloadRecord:
    """Return the record of a row's worker."""
    facts = {"problems": [], "precision_used": of.computes or of.precision}
    loaded = Loaded(1, 0.5, 20, "described", facts, (HOST_E2E,))
    mean = of.error_mm if of.error_mm is not None else ERROR_MM[of.precision]
    parity: dict[str, Any] = {
        "outcome": of.outcome,
        "status": of.status or of.outcome,
        "reason": f"mean distance {mean} mm",
        "images": 8,
    }
    return WorkloadRecord(
        loaded=loaded,
        warm_up=WarmUp(state="steady", seconds=1, windows_ms=[10, 10, 10]),
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
