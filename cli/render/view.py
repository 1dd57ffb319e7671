"""A table of the report on a terminal."""

from bench.report.views import Cell, Table
from cli.console import out, table
from cli.render.text import safe

TONE_STYLE = {"good": "green", "warn": "yellow", "bad": "red", "dim": "dim"}


def print_view(view: Table) -> None:
    """Print a table with its caption; a note stands behind its value."""
    grid = table(*view.columns)
    for line in view.lines:
        grid.add_row(*map(_text, line.cells))
    out.print(grid)
    out.print(f"[dim]{safe(view.caption)}[/]")


def _text(cell: Cell) -> str:
    style = TONE_STYLE.get(cell.tone)
    text = f"[{style}]{safe(cell.text)}[/]" if style else safe(cell.text)
    return f"{text} [dim]{safe(cell.note)}[/]" if cell.note else text
