"""Rows of a result as CSV, one line for each boundary."""

from bench.results.csv_text import csv_text
from bench.results.result import Latency, Result, Row

COLUMNS = (
    *("id", "runtime", "precision", "threads", "batch", "verdict", "parity", "boundary", "samples", "rounds"),
    *("p50_ms", "p90_ms", "p99_ms", "max_ms", "speed_up", "speed_up_low", "speed_up_high", "peak_mib"),
    *("image_to_joints_p50_ms", "best_images_per_s", "best_batch", "best_in_flight"),
    *("energy_gross_j", "energy_net_j", "reasons"),
)


def result_csv(result: Result) -> str:
    """Return the CSV with a header; unknown and hidden figures are empty. An unstable row has no p50."""
    return csv_text(
        COLUMNS,
        (
            _cells(row, boundary, latency)
            for row in result.rows
            for boundary, latency in row.latency.items() or [(None, None)]
        ),
    )


def _cells(row: Row, boundary: str | None, latency: Latency | None) -> dict[str, object]:
    cells: dict[str, object] = {
        "parity": row.parity["outcome"] if row.parity else None,
        "boundary": boundary,
        "reasons": "; ".join(row.reasons),
        "peak_mib": row.memory.peak_mib if row.memory else None,
        **{name: getattr(row, name) for name in ("id", "runtime", "precision", "threads", "batch", "verdict")},
    }
    if latency is not None:
        tails = {p.quantile: p.value_ms for p in latency.percentiles}
        cells |= {"samples": latency.samples, "rounds": latency.rounds, "max_ms": latency.max_ms}
        cells |= {"p90_ms": tails[0.9], "p99_ms": tails[0.99]}
        cells["p50_ms"] = latency.p50_ms if row.verdict != "unstable" else None
    return cells | (_headline_cells(row) if boundary == "host_e2e" else {})


def _headline_cells(row: Row) -> dict[str, object]:
    """Return the figures that a row has once; an unstable row has no throughput and no image to joints."""
    cells: dict[str, object] = {}
    if row.speed_up is not None:
        cells |= {"speed_up": row.speed_up.median}
        cells |= {"speed_up_low": row.speed_up.low, "speed_up_high": row.speed_up.high}
    if row.energy is not None:
        cells |= {"energy_gross_j": row.energy.gross_j, "energy_net_j": row.energy.net_j}
    if row.verdict == "unstable":
        return cells
    if row.image_to_joints is not None:
        cells["image_to_joints_p50_ms"] = row.image_to_joints.total_p50_ms
    if (best := row.best_throughput) is not None:
        cells |= {"best_images_per_s": best.images_per_s, "best_batch": best.batch, "best_in_flight": best.in_flight}
    return cells
