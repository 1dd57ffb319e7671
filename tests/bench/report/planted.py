"""Rows and measurements with planted figures: 20 ms are the reference's."""

from typing import Any, Literal

from bench.accuracy.record import Evaluation
from bench.report.measurement import Measurement
from bench.report.rows import HEADLINE, with_trusted_speed_ups
from bench.results.result import Latency, NotRunRow, Row, SpeedUp
from bench.stats.statistics import Misses, Percentile, Ratio
from export.parity.budgets import PASS
from tests.support import planted_evaluation


def row(
    runtime: str,
    p50_ms: float = 8.0,
    precision: str = "fp32",
    *,
    verdict: Literal["stable", "noisy", "unstable", "invalid"] = "stable",
    half_width: float = 0.005,
    error_mm: float = 0.01,
    **changes: Any,
) -> Row:
    """A row whose file is known by its precision."""
    reference = runtime == "pytorch"
    ranked, up = verdict in ("stable", "noisy") and not reference, 20 / p50_ms
    parity = {"outcome": PASS, "status": PASS, "reason": "fine", "images": 8}
    fields = dict.fromkeys(name for name, field in Row.model_fields.items() if field.is_required()) | {
        "id": f"{runtime}/{precision}",
        "runtime": runtime,
        "precision": precision,
        "precision_used": precision,
        "batch": 1,
        "threads": 2,
        "artifact": None if reference else f"onnx/S-{precision}.onnx",
        "artifact_sha256": None if reference else precision,
        "artifact_bytes": None if reference else 14_000_000,
        "is_reference": reference,
        "verdict": verdict,
        "reasons": ["why not"],
        "parity": parity | {"mean_mm": error_mm, "max_mm": 5 * error_mm},
        "latency": {} if verdict == "invalid" else {HEADLINE: latency(p50_ms)},
        "speed_up": speed_up(up, half_width) if ranked else None,
        "facts": {},
    }
    return Row.model_validate(fields | changes)


def latency(p50_ms: float) -> Latency:
    """700 calls in 30 rounds, 3 of them late."""
    return Latency(
        samples=700,
        rounds=30,
        p50_ms=p50_ms,
        round_median_low_ms=0.9 * p50_ms,
        round_median_high_ms=1.1 * p50_ms,
        max_ms=2 * p50_ms,
        percentiles=[Percentile(quantile=0.9, value_ms=1.2 * p50_ms, upper_ms=1.3 * p50_ms, floor=64)],
        deadlines=[Misses(deadline_ms=16.7, missed=3, rate=0.01, low=0.0, high=0.02)],
    )


def speed_up(median: float, half_width: float = 0.005) -> SpeedUp:
    """A speed-up with an interval of so many percent to each side."""
    low, high = median * (1 - half_width), median * (1 + half_width)
    return SpeedUp(median=median, low=low, high=high, rounds=30, same=False)


def control(low: float, high: float) -> Ratio:
    """Two instances of the reference."""
    return Ratio(median=(low + high) / 2, low=low, high=high, rounds=30)


def evaluation(**loss_mm: float) -> Evaluation:
    """An evaluation of the files of these precisions by ONNX Runtime: 50 mm, and the loss."""
    rows = [
        planted_evaluation.evaluated(
            "onnxruntime",
            precision,
            "onnxruntime 1.31",
            50 + mm,
            sha256=precision,
            accuracy_loss_mm=planted_evaluation.loss(mm),
        )
        for precision, mm in loss_mm.items()
    ]
    return planted_evaluation.evaluation(rows)


def measurement(*rows: Row, **changes: Any) -> Measurement:
    """A measurement of S with these rows."""
    fields = {"model": "S", "weights": "checkpoint", "source": "build/S", "command": "convnextpose bench build/S"}
    return Measurement(**{**fields, "rows": with_trusted_speed_ups(rows), "reference": "pytorch fp32", **changes})


def not_run(runtime: str, reason: str) -> NotRunRow:
    """A runtime that was not run."""
    return NotRunRow(runtime=runtime, precision=None, reason=reason)
