"""The end of a command: one screen with the decision, the reasons, and what to do next."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.markup import escape
from rich.text import Text

from cli.console import out, table, wrapped
from cli.render.text import safe
from export.common.plain import listed
from export.common.program import executable, runnable

LINES, WIDTH = 25, 80
"""Size of a screen."""
MOST_ROWS, MOST_COMMANDS = 9, 3
"""Rows (a reference and eight more) and commands on a screen; the rest is behind ``--verbose``."""


def command(*words: object) -> str:
    """Return a command of this program that a shell can run."""
    return f"{executable()} {shlex.join(map(str, words))}"


@dataclass(frozen=True)
class Screen:
    """The end of a command: what was decided, a table, what is open, and what to do next."""

    head: Sequence[str]
    """The decision, in lines with markup."""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    tail: Sequence[str] = ()
    """Differences and open points, the most important first."""
    box: Sequence[str] = ()
    """Lines in a yellow frame."""
    details: str = ""
    """The files that have everything."""
    commands: Sequence[str] = ()
    """Commands that follow, the most useful first."""

    def show(self) -> None:
        """Print at most ``LINES`` lines: the rows, then as many open points as there is room for."""
        commands, box = [runnable(text) for text in dict.fromkeys(self.commands)][:MOST_COMMANDS], _frame(self.box)
        count = min(MOST_ROWS, len(self.rows))
        while (space := self._space(count, len(box) + len(commands))) < 0 and count > 1:
            count -= 1
        details, tail = self._details(count), list[str]()
        for line in self.tail:
            if (height := _height(line)) <= space:
                space -= height
                tail.append(line)
        out.print()
        for line in self.head:
            out.print(line)
        _print_rows(self.columns, self.rows[:count])
        for line in (*tail, *box, *([details] if details else [])):
            out.print(line)
        print_next(commands)

    def _details(self, count: int) -> str:
        """Return where everything is, and which rows are not shown."""
        hidden = [row[0] for row in self.rows[count:]]
        not_shown = f" (not shown: {listed(hidden)})" if hidden else ""
        return f"details: {safe(self.details)}{not_shown}" if self.details else ""

    def _space(self, count: int, more: int) -> int:
        """Return the lines that so many rows leave for open points; below 0 there are too many rows."""
        return LINES - 3 - more - count - sum(map(_height, (*self.head, self._details(count))))


def print_next(commands: Sequence[str]) -> None:
    """Print commands, each as one line that can be copied."""
    if commands:
        out.print("[bold]next:[/]")
    for text in commands:
        out.print_command(text)


def _print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    grid = table(*columns)
    for row in rows:
        grid.add_row(*row)
    if rows:
        out.print(grid)


def _height(line: str) -> int:
    return len(wrapped(Text.from_markup(line), WIDTH, indent=2)) if line else 0


def _frame(lines: Sequence[str]) -> list[str]:
    """Return lines in a yellow frame."""
    if not lines:
        return []
    inner = [part.plain for line in lines for part in wrapped(Text(line), WIDTH - 4)]
    width = max(map(cell_len, inner))
    framed = [f"│ {set_cell_size(text, width)} │" for text in inner]
    return [f"[yellow]{escape(line)}[/]" for line in (f"╭{'─' * (width + 2)}╮", *framed, f"╰{'─' * (width + 2)}╯")]


def print_frame(lines: Sequence[str]) -> None:
    """Print lines in a yellow frame."""
    for line in _frame(lines):
        out.print(line)


def shorten(text: str, length: int = 120) -> str:
    """Return the beginning of a long reason, cut between words."""
    if len(text) <= length:
        return text
    return text[:length].rsplit(" ", 1)[0].rstrip(",;:") + " …"
