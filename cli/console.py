"""Console output: results on stdout, progress and errors on stderr."""

import os
import sys
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from export.common.errors import Failure
from export.common.plain import printable
from export.common.program import runnable
from export.common.progress import NO_RESULT, Progress, StepObserver

LOG_WIDTH = 160
"""Columns without a terminal, as in a file or a CI log, unless COLUMNS says otherwise."""
LOG_PAUSE_S = 20
"""Seconds between two lines of progress without a terminal."""
LOG_COLUMNS = None if os.environ.get("COLUMNS", "").isdecimal() else LOG_WIDTH


class PrintableConsole(Console):
    """A console that escapes control characters: text from a file must not command the terminal that shows it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with escaped text."""
        for text, style, control in super().render(renderable, options):
            if control is None and not text.isprintable():
                text = "\n".join(map(printable, text.split("\n")))
            yield Segment(text, style, control)


class Output(PrintableConsole):
    """A stream; on a terminal, lines wrap between words, and a word longer than the line stays whole."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print text or a table; a log that names no width gets each text as one line."""
        if not all(isinstance(text, str) for text in objects):
            super().print(*objects, **({"crop": False} | options))  # a longer word stays whole
            return
        for part in Text.from_markup(" ".join(objects), emoji=False).split("\n", allow_blank=True):
            wraps = self.is_terminal or LOG_COLUMNS is None
            for line in wrapped(part, self.width, indent=2) if wraps else [part]:
                super().print(line, **(options | {"soft_wrap": True}))

    def print_command(self, command: str) -> None:
        """Print a command as one line that can be copied, however narrow the terminal is."""
        super().print(f"  {escape(command)}", soft_wrap=True)


def show_failure(failure: Failure) -> None:
    """Print the three parts of an error, a line each."""
    parts = {"[bold red]error:[/]": failure.problem, "found:": failure.detail, "try:  ": failure.advice}
    for label, text in parts.items():
        err.print(f"{label} {escape(runnable(printable(text)))}")


def raise_all(failures: Sequence[Failure]) -> None:
    """Print all failures but the last, and raise that one, if there are any."""
    if failures:
        for failure in failures[:-1]:
            show_failure(failure)
        raise failures[-1]


class Grid(Table):
    """A table without borders that never splits a word.

    Cells wrap between words. Where the words of a row do not fit beside each other, each cell gets a line.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Set the width of each column, or print a block for each row."""
        columns = [[_text(column.header), *map(_text, column.cells)] for column in self.columns]
        widths = [max(_longest_word(cell) for cell in cells) for cells in columns]
        space = options.max_width - 2 * (len(widths) - 1)
        if sum(widths) > space:
            yield from _blocks(columns, options.max_width)
            return
        for first in (1, 0):  # headers wrap before cells do
            widths = _widened(widths, [cells[first:] for cells in columns], space)
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)


def _widened(widths: Sequence[int], columns: Sequence[Sequence[Text]], space: int) -> list[int]:
    """Return widths with which fewer cells wrap; columns share the space by what they want."""
    demand = [
        max(0, max((cell.cell_len for cell in cells), default=0) - width)
        for cells, width in zip(columns, widths, strict=True)
    ]
    spare = space - sum(widths)
    return [width + min(want, spare * want // max(1, sum(demand))) for width, want in zip(widths, demand, strict=True)]


def _blocks(columns: Sequence[Sequence[Text]], width: int) -> Iterable[Text]:
    """Yield the rows of a table that is too narrow, a line for each cell."""
    for row in zip(*(cells[1:] for cells in columns), strict=True):
        for index, (header, cell) in enumerate(zip((cells[0] for cells in columns), row, strict=True)):
            if cell.plain.strip():
                label = f"{header.plain}: " if header.plain and index else ""
                line = Text.assemble("  " * bool(index), (label, "dim"), cell)
                yield from wrapped(line, width, indent=4 if index else 2)


def wrapped(line: Text, width: int, indent: int = 0) -> list[Text]:
    """Wrap a line between its words, with further lines indented; a word longer than the line stays whole."""
    lines, remainder = list[Text](), line
    while (
        remainder.cell_len > width
        and (space := _last_space(remainder.plain, width, indent if lines else 0)) is not None
    ):
        lines.append(_whole(remainder[:space]))
        remainder = Text.assemble(" " * indent, remainder[space + 1 :])
    return [*lines, _whole(remainder)]


def _last_space(text: str, width: int, indent: int) -> int | None:
    """Return where to break a line: the last space within the width, otherwise the first behind it."""
    start = max(indent, len(text) - len(text.lstrip()))
    fitting = text.rfind(" ", start, width + 1)
    space = fitting if fitting > start else text.find(" ", width)
    return space if space > start else None


def _whole(line: Text) -> Text:
    """Return a line that is printed as it is, even if it is wider than the terminal."""
    line.no_wrap, line.overflow, line.end = True, "ignore", "\n"
    return line


def _text(cell: object) -> Text:
    return Text.from_markup(str(cell), emoji=False)


def _longest_word(cell: Text) -> int:
    return max((Text(word).cell_len for word in cell.plain.split()), default=0)


def table(*columns: str) -> Grid:
    """Return an empty table."""
    grid = Grid(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid


def _activity(step: str, text: str, share: float | None) -> str:
    return f"{step}: {escape(text)}" + (f" {share:.0%}" if share is not None else "")


def _log_lines(step: str) -> Progress:
    """Return a callback that prints at most one line in ``LOG_PAUSE_S``, and none for a short step."""
    last = monotonic()

    def progress(text: str, share: float | None = None) -> None:
        nonlocal last
        if (now := monotonic()) - last >= LOG_PAUSE_S:
            last = now
            err.print(f"  [dim]…           {_activity(step, text, share)}[/]")

    return progress


# Without emoji, ":100:" in a path stays as it is.
out = Output(highlight=False, emoji=False, width=None if sys.stdout.isatty() else LOG_COLUMNS)
err = Output(highlight=False, emoji=False, width=None if sys.stderr.isatty() else LOG_COLUMNS, stderr=True)


class ConsoleObserver(StepObserver):
    """One line for each step, and on a terminal a spinner with its progress."""

    def __init__(self) -> None:
        self.ran_steps = False
        """True if a step was not up to date."""
        self._status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def up_to_date(self, step: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        self.stop()
        err.print(f"  [dim]up to date[/]  {self._name(step)}")

    def begin(self, step: str, reason: str) -> Progress:
        """See ``export.common.progress.StepObserver``."""
        self.stop()
        self.ran_steps = True
        because = "" if reason == NO_RESULT else f" [dim]({escape(reason)})[/]"
        err.print(f"  [cyan]running[/]     {self._name(step)}{because}")
        return self.listener(self._name(step))

    def _name(self, step: str) -> str:
        return escape(f"{self.model} {step}" if self.model else step)

    def listener(self, step: str) -> Progress:
        """Return a progress callback: a spinner on a terminal; in a log, a line where the last one is old."""
        self.stop()
        if not sys.stderr.isatty():
            return _log_lines(step)
        self._status = err.status(step)
        self._status.start()
        status = self._status
        return lambda text, share=None: status.update(_activity(step, text, share))

    def done(self, step: str, seconds: float) -> None:
        """See ``export.common.progress.StepObserver``."""
        self.stop()
        err.print(f"  [green]done[/]        {self._name(step)} in {seconds:.1f} s")

    def failed(self, step: str, problem: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        self.stop()
        err.print(f"  [red]failed[/]      {self._name(step)} [dim]({escape(printable(problem))})[/]")

    def would_run(self, step: str, reason: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        err.print(f"  [yellow]would run[/]   {self._name(step)} [dim]({escape(reason)})[/]")

    def waiting(self, folder: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        err.print(f"  [yellow]waiting[/]     another run works in {escape(folder)} (Ctrl-C gives up)")

    def stop(self) -> None:
        """Remove the spinner."""
        if self._status is not None:
            self._status.stop()
            self._status = None
