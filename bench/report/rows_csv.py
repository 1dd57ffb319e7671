"""The rows of a report as CSV, for a spreadsheet."""

from collections.abc import Iterator, Sequence

from bench.report.recommend import Choice
from bench.report.rows import HEADLINE, error_mm, in_order, is_ranked, parity_status, percentile_of
from bench.results.csv_text import csv_text
from bench.results.result import NotRunRow, Row

COLUMNS = (
    *("device", "model", "weights", "id", "runtime", "precision", "computes_in", "verdict", "recommended", "parity"),
    *("export_error_mean_mm", "export_error_max_mm", "mpjpe_mm", "accuracy_loss_mm", "boundary", "samples", "rounds"),
    *("p50_ms", "p90_ms", "p99_ms", "reference", "speed_up", "speed_up_low", "speed_up_high", "images_per_s"),
    *("peak_mib", "file", "file_sha256", "file_bytes", "load_ms", "first_inference_ms", "not_run", "reasons"),
)


def rows_csv(choices: Sequence[Choice]) -> str:
    """Return a line for each row and boundary, and for each row that a device did not run.

    What is not known, or may not be shown, is empty.
    """
    return csv_text(COLUMNS, (line for choice in choices for line in _lines(choice)))


def _lines(choice: Choice) -> Iterator[dict[str, object]]:
    measurement = choice.measurement
    about: dict[str, object] = {
        "device": measurement.device,
        "model": measurement.model,
        "weights": measurement.weights,
    }
    for row in in_order(measurement.rows):
        for boundary in row.latency or (None,):
            yield about | _row(choice, row) | (_latency(choice, row, boundary) if boundary else {})
    if measurement.device and measurement.missing is not None:
        yield about | {"not_run": measurement.missing}
    for skipped in measurement.not_run if measurement.device else ():
        yield about | _not_run(skipped)


def _row(choice: Choice, row: Row) -> dict[str, object]:
    accuracy = next(iter(choice.measurement.accuracy_of(row)), None)
    return {
        **{name: getattr(row, name) for name in ("id", "runtime", "precision", "verdict")},
        "computes_in": row.precision_used,
        "recommended": row is choice.row,
        "parity": parity_status(row),
        "export_error_mean_mm": error_mm(row),
        "export_error_max_mm": error_mm(row, "max_mm"),
        "mpjpe_mm": accuracy.mpjpe_mm if accuracy else None,
        "accuracy_loss_mm": accuracy.loss.mean if accuracy and accuracy.loss else None,
        "images_per_s": row.best_throughput.images_per_s if row.best_throughput and is_ranked(row) else None,
        "peak_mib": row.memory.peak_mib if row.memory else None,
        "file": row.artifact,
        "file_sha256": row.artifact_sha256,
        "file_bytes": row.artifact_bytes,
        "load_ms": row.cold_start.load_ms[0] if row.cold_start and row.cold_start.load_ms else None,
        "first_inference_ms": row.cold_start.first_ms[0] if row.cold_start and row.cold_start.first_ms else None,
        "reasons": "; ".join(row.reasons),
    }


def _latency(choice: Choice, row: Row, boundary: str) -> dict[str, object]:
    latency = row.latency[boundary]
    tails = {quantile: percentile_of(latency, quantile) for quantile in (0.9, 0.99)}
    fields: dict[str, object] = {
        "boundary": boundary,
        "samples": latency.samples,
        "rounds": latency.rounds,
        "p50_ms": latency.p50_ms if is_ranked(row) else None,
        **{f"p{100 * quantile:.0f}_ms": tail.value_ms if tail else None for quantile, tail in tails.items()},
    }
    if row.speed_up is not None and boundary == HEADLINE:
        up = row.speed_up
        fields |= {"speed_up": up.median, "speed_up_low": up.low, "speed_up_high": up.high}
        fields["reference"] = choice.measurement.reference
    return fields


def _not_run(skipped: NotRunRow) -> dict[str, object]:
    return {"runtime": skipped.runtime, "precision": skipped.precision, "not_run": skipped.reason}
