"""Console output: results on stdout, progress and errors on stderr."""

import sys
from collections.abc import Sequence

from rich.markup import escape
from rich.status import Status
from rich.table import Table

from cli.printable_console import PrintableConsole
from export.common.errors import Failure
from export.common.plain import printable
from export.common.progress import Progress, StepObserver, no_progress

LOG_WIDTH = 160
"""Columns without a terminal, as in a file or a CI log."""

# Without emoji, ":100:" in a path stays as it is.
out = PrintableConsole(highlight=False, emoji=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
err = PrintableConsole(highlight=False, emoji=False, width=None if sys.stderr.isatty() else LOG_WIDTH, stderr=True)


def show_failure(failure: Failure) -> None:
    """Print the three parts of an error, a line each."""
    parts = {"[bold red]error:[/]": failure.problem, "found:": failure.detail, "try:  ": failure.advice}
    for label, text in parts.items():
        err.print(f"{label} {escape(printable(text))}", soft_wrap=True)


def raise_all(failures: Sequence[Failure]) -> None:
    """Print all failures but the last, and raise that one, if there are any."""
    if failures:
        for failure in failures[:-1]:
            show_failure(failure)
        raise failures[-1]


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table without borders; text too long for a cell wraps."""
    grid = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        grid.add_column(column, overflow="fold", no_wrap=index == 0)
    return grid


class ConsoleObserver(StepObserver):
    """One line for each step, and on a terminal a spinner with its progress."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def up_to_date(self, step: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        err.print(f"  [dim]up to date[/]  {step}")

    def begin(self, step: str, reason: str) -> Progress:
        """See ``export.common.progress.StepObserver``."""
        err.print(f"  [cyan]running[/]     {step} [dim]({escape(reason)})[/]", soft_wrap=True)
        return self.listener(step)

    def listener(self, step: str) -> Progress:
        """Return a progress callback: a spinner on a terminal, nothing in a log file."""
        if not sys.stderr.isatty():
            return no_progress
        self.stop()
        self._status = err.status(step)
        self._status.start()
        status = self._status

        def progress(text: str, share: float | None = None) -> None:
            status.update(f"{step}: {escape(text)}" + (f" {share:.0%}" if share is not None else ""))

        return progress

    def done(self, step: str, seconds: float) -> None:
        """See ``export.common.progress.StepObserver``."""
        self.stop()
        err.print(f"  [green]done[/]        {step} in {seconds:.1f} s")

    def would_run(self, step: str, reason: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        err.print(f"  [yellow]would run[/]   {step} [dim]({escape(reason)})[/]", soft_wrap=True)

    def waiting(self, folder: str) -> None:
        """See ``export.common.progress.StepObserver``."""
        err.print(f"  [yellow]waiting[/]     another run works in {escape(folder)} (Ctrl-C gives up)", soft_wrap=True)

    def stop(self) -> None:
        """Remove the spinner."""
        if self._status is not None:
            self._status.stop()
            self._status = None
