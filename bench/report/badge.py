"""``badge.json``: the answer in a line, for shields.io's endpoint badge (https://shields.io/badges/endpoint-badge)."""

from typing import Any

from bench.report.recommend import Choice
from bench.report.rows import headline, name_of
from export.common.plain import printable


def badge(choice: Choice) -> dict[str, Any]:
    """Return a badge: grey without a benchmark, red if nothing may be shipped, yellow if the choice is qualified."""
    measurement, row = choice.measurement, choice.row
    message, colour = "not measured", "lightgrey"
    if row is not None and (latency := headline(row)):
        message = f"{name_of(row)}, {latency.p50_ms:.2f} ms, {row.verdict}"
        colour = "brightgreen" if row.verdict == "stable" and choice.caveat is None else "yellow"
    elif measurement.missing is None:
        message, colour = "nothing may be shipped", "red"
    if measurement.weights != "checkpoint":
        message += f" ({measurement.weights} weights)"
    return {"schemaVersion": 1, "label": printable(measurement.model), "message": printable(message), "color": colour}
