"""The report in a few lines: what to ship, why, what is open, and where the page is."""

from rich.markup import escape

from bench.report.recommend import Recommendation
from bench.report.sections.untested import gaps
from bench.report.subject import Subject
from bench.report.write import Report
from cli import render_bench
from cli.console import out
from export.plain import printable

MOST = 5
"""So many open points are named; the page has all."""


def report(made: Report) -> None:
    """Of every model; then the files."""
    for subject, found in made.subjects:
        _model(subject, found)
    page, *others = made.files
    out.print(f"\npage: {escape(str(page))}", soft_wrap=True)
    out.print(f"beside it: {escape(', '.join(path.name for path in others))}", soft_wrap=True)


def _model(subject: Subject, found: Recommendation) -> None:
    mark = f"  [yellow]weights: {subject.weights}[/]" if subject.weights != "checkpoint" else ""
    out.print(f"\n[bold]{_safe(subject.model)}[/]{mark}")
    row = found.row
    if row is None:
        out.print(f"[yellow bold]nothing to recommend:[/] {_safe(found.reason)}", soft_wrap=True)
    else:
        style = render_bench.VERDICT_STYLE[row.verdict]
        out.print(
            f"ship [green bold]{_safe(row.name)}[/] ({_safe(row.file or 'its engine')}), [{style}]{row.verdict}[/]"
        )
        out.print(_safe(found.reason), soft_wrap=True)
    for text in (*found.passed_over, *([found.caveat] if found.caveat else [])):
        out.print(f"[yellow]note[/] {_safe(text)}", soft_wrap=True)
    points = gaps(subject, row)
    for one in points[:MOST]:
        out.print(f"[dim]not tested[/] {_safe(f'{one.what}: {one.reason}')}", soft_wrap=True)
    if len(points) > MOST:
        out.print(f"[dim]not tested[/] and {len(points) - MOST} more, see the page")


def _safe(text: str) -> str:
    return escape(printable(text))
