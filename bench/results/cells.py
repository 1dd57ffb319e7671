"""Figures of a result as text in a table: the same on a terminal, in Markdown and on a page."""

from collections.abc import Sequence
from statistics import median

from bench.stats.stopping import FIRST_LOOK

NOTHING = "–"


def milliseconds(verdict: str, p50_ms: float, low_ms: float, high_ms: float) -> str:
    """Return the median; for an unstable row only the range of its round medians."""
    return f"{low_ms:.2f} to {high_ms:.2f}" if verdict == "unstable" else f"{p50_ms:.2f}"


def no_percentile(verdict: str, *, samples: int, floor: int, rounds: int) -> str:
    """Return why there is no percentile."""
    if samples < floor:
        return f"n/a ({samples} of {floor} calls)"
    return "n/a (unstable)" if verdict == "unstable" else f"n/a ({rounds} < {FIRST_LOOK} rounds)"


def ratio(median: float, low: float, high: float) -> str:
    """Return ``2.41 [2.38, 2.44]``."""
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def spread(values: Sequence[float]) -> str:
    """Return the median; for several values also the range."""
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def each(values: Sequence[float]) -> str:
    """Return ``20.11, 20.15, 20.90 (range 3.9%)``."""
    listed = ", ".join(f"{value:.2f}" for value in values)
    return f"{listed} (range {max(values) / min(values) - 1:.1%})" if len(values) > 1 else listed


def millimetres(value: float) -> str:
    """Return two digits, and whole numbers from 100 on."""
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def megabytes(size_bytes: int) -> str:
    """Return ``33.6 MB``."""
    return f"{size_bytes / 1e6:.1f} MB"
