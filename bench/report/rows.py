"""Readings of a row of ``bench.results.result``, and which speed-ups of a run may be shown."""

import re
from collections.abc import Iterable, Sequence

from bench.harness.workload import HOST_E2E
from bench.report import theme
from bench.results import cells
from bench.results.result import Latency, Row
from bench.stats.statistics import Percentile
from export.common.interface import PRECISIONS

HEADLINE = HOST_E2E
"""From the image in a NumPy array to the joints in one."""
RANKED = ("stable", "noisy")
"""Verdicts with which figures of a row may be compared."""
WORDS = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}
WORDS |= {word: word.upper() for word in ("cuda", "rtx", *PRECISIONS)}
WIDEST_FACTOR = 1.5
"""A ratio with an interval wider than this factor is not shown: it says almost nothing."""


def name_of(row: Row) -> str:
    """Return the row's name for a reader: ``openvino fp16``."""
    return f"{row.runtime} {row.precision}"


def title(name: str) -> str:
    """Return the name of a row as a sentence has it: ``OpenVINO FP16``."""
    return " ".join(WORDS.get(word, word) for word in re.split("[- ]", name))


def is_ranked(row: Row) -> bool:
    """Return whether the row's figures may be compared with those of others."""
    return row.verdict in RANKED


def headline(row: Row) -> Latency | None:
    """Return the latency that all figures are of, if the row has one."""
    return row.latency.get(HEADLINE)


def percentile_of(latency: Latency, quantile: float) -> Percentile | None:
    """Return this percentile's record."""
    return next((record for record in latency.percentiles if record.quantile == quantile), None)


def parity_status(row: Row) -> str | None:
    """Return the parity of the session that was timed, in words; None if it was not judged."""
    return row.parity.get("status", row.parity["outcome"]) if row.parity else None


def error_mm(row: Row, statistic: str = "mean_mm") -> float | None:
    """Return the export error: the distance of the joints from the FP64 reference."""
    return row.parity.get(statistic) if row.parity else None


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sort rows as all tables and charts have them: the reference, then by runtime, then by precision."""
    return sorted(rows, key=lambda row: (not row.is_reference, *theme.order_key(row.runtime, row.precision)))


def is_known(low: float, high: float) -> bool:
    """Return whether the interval of a ratio is narrow enough to show the ratio; NaN never is."""
    return low > 0 and high <= WIDEST_FACTOR * low


def ratio_text(median: float, low: float, high: float) -> str:
    """Return ``2.41 [2.38, 2.44]``, or that the ratio is not known."""
    return cells.ratio(median, low, high) if is_known(low, high) else "not known"


def with_trusted_speed_ups(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows without speed-ups that say nothing, each with the reason.

    A speed-up over an unstable reference, or with a wide interval, is removed here once, so that no table, chart or
    file can show it.
    """
    reference = next((row for row in rows if row.is_reference), None)
    lost = f"no speed-up: the reference is {reference.verdict}" if reference and not is_ranked(reference) else None
    wide = f"no speed-up: its interval spans more than a factor of {WIDEST_FACTOR:g}"
    trusted = []
    for row in rows:
        up = row.speed_up
        reason = None if up is None else lost or (None if is_known(up.low, up.high) else wide)
        removed = {"speed_up": None, "reasons": [*row.reasons, reason]}
        trusted.append(row.model_copy(update=removed) if reason else row)
    return tuple(trusted)
