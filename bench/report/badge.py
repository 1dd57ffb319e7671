"""``badge.json``: the answer in a line, as shields.io's endpoint badge reads it (https://shields.io/badges/endpoint-badge)."""

from typing import Any

from bench.report.recommend import Recommendation
from bench.report.subject import Subject


def badge(subject: Subject, found: Recommendation) -> dict[str, Any]:
    """Grey without a benchmark, red where nothing may be shipped, yellow where the choice is qualified."""
    message, colour = "not measured", "lightgrey"
    if found.row is not None and found.row.headline is not None:
        message = f"{found.row.name}, {found.row.headline.p50_ms:.2f} ms, {found.row.verdict}"
        colour = "brightgreen" if found.row.verdict == "stable" and found.caveat is None else "yellow"
    elif subject.bench is not None:
        message, colour = "nothing may be shipped", "red"
    if subject.weights != "checkpoint":
        message += f" ({subject.weights} weights)"
    return {"schemaVersion": 1, "label": subject.model, "message": message, "color": colour}
