"""Results of a benchmark that never ran."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.harness.assemble import row_of
from bench.harness.candidates import Candidate
from bench.harness.measurements import Measurements, WorkloadRecord
from bench.harness.rounds import Block, Rounds
from bench.harness.workload import HOST_E2E, Loaded
from bench.results.result import Result, Row
from bench.stats.steadiness import WarmUp

REFERENCE, CANDIDATE = Candidate("pytorch", "fp32", 2), Candidate("onnxruntime", "fp32", 2, None)
CONTROL = REFERENCE.id + "#control"
QUIET: dict[str, Any] = {"steal_ticks": 0, "total_ticks": 0, "gpus": []}
STEADY = {REFERENCE.id: [20.0] * 30, CONTROL: [20.0] * 30, CANDIDATE.id: [10.0] * 30}
"""Latency in ms of each round."""


def measurements(latencies_ms: Mapping[str, Sequence[float]], samples: int = 5, **record: object) -> Measurements:
    """Return rounds of equal samples; ``record`` changes the candidate's record."""
    blocks = {
        name: [Block(index, 0, {HOST_E2E: [latency_ms] * samples}) for index, latency_ms in enumerate(rounds)]
        for name, rounds in latencies_ms.items()
    }
    loaded = Loaded(1, 0.5, 20, "described", {"problems": [], "precision_used": "fp32"}, (HOST_E2E,))
    records = {
        n: WorkloadRecord(loaded=loaded, warm_up=WarmUp(state="steady", seconds=1, windows_ms=[10, 10, 10]))
        for n in latencies_ms
    }
    for name, value in record.items():
        setattr(records[CANDIDATE.id], name, value)
    sensors: list[Mapping[str, Any]] = [QUIET, QUIET | {"total_ticks": 1000}]
    return Measurements(records, Rounds(blocks, completed=len(latencies_ms[REFERENCE.id]), sensors=sensors))


def row(measured: Measurements, candidate: Candidate = CANDIDATE) -> Row:
    return row_of(candidate, measured, REFERENCE.id, measured.rounds.ratio(REFERENCE.id, CONTROL), (16.7,))


def result(measured: Measurements, **changes: object) -> Result:
    ratio = measured.rounds.ratio(REFERENCE.id, CONTROL)
    fields = {
        "created": "2026-01-01T00:00:00+00:00",
        "model": "XS",
        "weights": "demo",
        "complete": True,
        "mode": "quick",
        "protocol": {"threads": 2},
        "stop_reason": "enough",
        "precision_reached": True,
        "rounds": 30,
        "environment": {
            "host": {"cpu": "a [processor]", "usable_cores": 2, "machine": "x86_64", "governor": None},
            "gpus": [],
            "software": {"python": "3.11.2", "libraries": {}},
        },
        "fingerprint": "sha256:0",
        "sensors": [],
        "reference_id": REFERENCE.id,
        "control": vars(ratio) if ratio else None,
        "harness_overhead_ns": 100.0,
        "rows": [row(measured, REFERENCE), row(measured)],
        "not_run": [{"runtime": "tensorrt", "precision": None, "reason": "no NVIDIA driver"}],
        "samples": None,
    }
    return Result.model_validate(fields | changes)
