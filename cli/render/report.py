"""The report in a few lines: what to ship, what comes next, what is open, and where the page is."""

from rich.markup import escape

from bench.report.commands import next_step
from bench.report.gaps import gaps_of
from bench.report.recommend import Choice
from bench.report.reports import Report, Reports
from bench.report.rows import name_of
from cli.console import out
from cli.render import bench as render_bench
from export.common.plain import printable

MOST = 5
"""So many open points are named; the page has all."""


def reports(written: Reports) -> None:
    """Print what to ship, model by model and device by device; nothing is ranked."""
    for report in (written.models, *written.devices):
        if report is not None:
            _report(report)


def _report(report: Report) -> None:
    if any(choice.measurement.device for choice in report.choices):
        out.print(f"\n[bold]{_safe(report.page.title)}[/]")
    for notice in report.page.notices:
        out.print(f"[yellow]note[/] {_safe(notice)}", soft_wrap=True)
    for choice in report.choices:
        _choice(choice)
    gaps = gaps_of(report.choices)
    for where, gap in gaps[:MOST]:
        place = f"{where}: " if len(report.choices) > 1 else ""
        out.print(f"[dim]not tested[/] {_safe(f'{place}{gap.item}: {gap.reason}')}", soft_wrap=True)
    if len(gaps) > MOST:
        out.print(f"[dim]not tested[/] and {len(gaps) - MOST} more, see the page")
    page, *siblings = report.files
    out.print(f"\npage: {escape(str(page))}", soft_wrap=True)
    out.print(f"beside it: {escape(', '.join(path.name for path in siblings))}", soft_wrap=True)


def _choice(choice: Choice) -> None:
    row = choice.row
    out.print(f"\n[bold]{_safe(choice.measurement.label)}[/]")
    if row is None:
        out.print(f"[yellow bold]nothing to recommend:[/] {_safe(choice.reason)}", soft_wrap=True)
    else:
        style = render_bench.VERDICT_STYLE[row.verdict]
        file = _safe(row.artifact or "its engine")
        out.print(f"ship [green bold]{_safe(name_of(row))}[/] ({file}), [{style}]{row.verdict}[/]")
        out.print(_safe(choice.reason), soft_wrap=True)
    for text in (*choice.passed_over, *([choice.caveat] if choice.caveat else [])):
        out.print(f"[yellow]note[/] {_safe(text)}", soft_wrap=True)
    if command := next_step(choice):
        out.print(f"next: {_safe(command)}", soft_wrap=True)


def _safe(text: str) -> str:
    return escape(printable(text))
