"""The report in a few lines: what to ship, why, what is open, and where the page is."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from bench import cells
from bench.report.devices.told import Devices, Told
from bench.report.devices.untested import gaps as device_gaps
from bench.report.recommend import Recommendation
from bench.report.sections.untested import gaps
from bench.report.subject import Subject
from bench.report.write import Reports
from cli import render_bench
from cli.console import out, table
from export.plain import printable

MOST = 5
"""So many open points are named; the page has all."""


def reports(made: Reports) -> None:
    """Of models, and then of devices."""
    if made.models is not None:
        for subject, found in made.models.subjects:
            _model(subject, found)
        _files(made.models.files)
    for page in made.devices:
        _devices(page.devices)
        _files(page.files)


def _files(files: Sequence[Path]) -> None:
    page, *others = files
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
    _open([f"{one.what}: {one.reason}" for one in gaps(subject, row)])


def _devices(of: Devices) -> None:
    """A line for each device and model; no device is ranked."""
    out.print(f"\n[bold]{_safe(of.title)}[/]")
    for notice in of.notices:
        out.print(f"[yellow]note[/] {_safe(notice)}", soft_wrap=True)
    shown = table("device", "model", "ship", "p50 ms there", "speed-up", "parity", "verdict")
    for one in of.told:
        shown.add_row(*_told(one))
    out.print(shown)
    out.print(f"[dim]speed-ups are over {_safe(of.reference)}; ms of two devices do not compare[/]", soft_wrap=True)
    _open([f"{gap.where}: {gap.what}: {gap.reason}" for gap in device_gaps(of)])


def _told(one: Told) -> tuple[str, ...]:
    found = one.recommended
    row, name = found.row, (_safe(one.device.name), _safe(one.model))
    if row is None or row.headline is None:
        why = _safe(one.missing or "nothing: the page says why of each row")
        return (*name, f"[yellow]{why}[/]", *[cells.NOTHING] * 4)
    up = (
        escape(cells.ratio(row.speed_up.median, row.speed_up.low, row.speed_up.high)) if row.speed_up else cells.NOTHING
    )
    style = render_bench.VERDICT_STYLE[row.verdict]
    drift = row.drift.status if row.drift else cells.NOTHING
    verdict = f"[{style}]{row.verdict}[/]"
    return (*name, f"[green bold]{_safe(row.name)}[/]", f"{row.headline.p50_ms:.2f}", up, _safe(drift), verdict)


def _open(points: Sequence[str]) -> None:
    for text in points[:MOST]:
        out.print(f"[dim]not tested[/] {_safe(text)}", soft_wrap=True)
    if len(points) > MOST:
        out.print(f"[dim]not tested[/] and {len(points) - MOST} more, see the page")


def _safe(text: str) -> str:
    return escape(printable(text))
