"""Cells and lines that several tables share."""

from rich.markup import escape

from export.common.plain import printable

OUTCOME_STYLE = {"agrees": "green", "pass": "green", "contradicted": "red", "fail": "red", "inconclusive": "yellow"}


def outcome(text: str) -> str:
    """Return an outcome in its colour."""
    return f"[{OUTCOME_STYLE.get(text, 'yellow')}]{text}[/]"


def safe(text: str) -> str:
    """Return text from a file without markup and control characters."""
    return escape(printable(text))


def number(value: float | None, form: str = ".3g") -> str:
    """Return a figure, or ``not finite``."""
    return "not finite" if value is None else format(value, form)


def optional(value: float | None, form: str = ".2f") -> str:
    """Return a figure, or a dash if there is none."""
    return "–" if value is None else format(value, form)


def weights_mark(origin: str, grown_from: str | None = None) -> str:
    """Return the origin of the weights for a heading; empty for a checkpoint."""
    grown = f", grown from {escape(grown_from)}" if grown_from else ""
    return f"  [yellow]weights: {origin}{grown}[/]" if origin != "checkpoint" else ""
