"""Results of a benchmark that was never run, for tests of what is made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.harness.assemble import row_of
from bench.harness.candidates import Candidate, reference
from bench.harness.entries import Entry
from bench.harness.job import HOST_E2E, Loaded, WarmUp
from bench.harness.rounds import Measured, Visit
from bench.harness.run import Session
from bench.results.result import Result, Row

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
