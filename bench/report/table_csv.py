"""The rows of all models of a report as CSV, for a spreadsheet."""

import csv
import io
from collections.abc import Sequence

from bench.report import theme
from bench.report.recommend import Recommendation
from bench.report.subject import Row, Subject

COLUMNS = (
    *("model", "id", "runtime", "precision", "computes", "verdict", "recommended", "parity", "drift_mean_mm"),
    *("drift_max_mm", "mpjpe_mm", "price_mm", "boundary", "samples", "rounds", "p50_ms", "p90_ms", "p99_ms"),
    *("speed_up", "speed_up_low", "speed_up_high", "images_per_s", "peak_mib", "file", "file_bytes", "build_s"),
    *("load_ms", "first_inference_ms", "reasons"),
)


def report_csv(subjects: Sequence[tuple[Subject, Recommendation]]) -> str:
    """With a header, a line for each row and boundary; what is not known, or may not be shown, is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for subject, found in subjects:
        for row in theme.ordered(subject.rows):
            for boundary in row.timings or (None,):
                writer.writerow(row_cells(subject.model, row, boundary, recommended=row is found.row))
    return text.getvalue()


def row_cells(model: str, row: Row, boundary: str | None, *, recommended: bool) -> dict[str, object]:
    """By column; what is not known, or may not be shown, is not there or None."""
    timing = (row.timings or {}).get(boundary) if boundary else None
    cells: dict[str, object] = {
        **{name: getattr(row, name) for name in ("id", "runtime", "precision", "computes", "verdict")},
        **{name: getattr(row, name) for name in ("peak_mib", "file", "file_bytes", "build_s")},
        "model": model,
        "recommended": recommended,
        "boundary": boundary,
        "reasons": "; ".join(row.reasons),
        "load_ms": row.load_ms[0] if row.load_ms else None,
        "first_inference_ms": row.first_ms[0] if row.first_ms else None,
    }
    if row.drift is not None:
        cells |= {"parity": row.drift.status, "drift_mean_mm": row.drift.mean_mm, "drift_max_mm": row.drift.max_mm}
    if row.accuracy:
        price = row.accuracy[0].price_mm
        cells |= {"mpjpe_mm": row.accuracy[0].mpjpe_mm, "price_mm": price.value if price else None}
    if row.throughput and row.ranked:
        cells["images_per_s"] = max(of.images_per_s for of in row.throughput)
    if timing is not None:
        tails = {of.quantile: of.value_ms for of in timing.tails}
        cells |= {
            "samples": timing.samples,
            "rounds": timing.rounds,
            "p90_ms": tails.get(0.9),
            "p99_ms": tails.get(0.99),
        }
        cells["p50_ms"] = timing.p50_ms if row.ranked else None
    if row.speed_up is not None and timing is not None and timing is row.headline:
        of = row.speed_up
        cells |= {"speed_up": of.median, "speed_up_low": of.low, "speed_up_high": of.high}
    return cells
