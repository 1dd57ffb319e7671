"""That a model was measured on other devices, too, and where that is told."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.report import commands
from bench.report.links import page_in
from bench.report.subject import Subject
from bench.report.views import Cell, Line, Link, Section, Table

ELSEWHERE = "elsewhere"


def elsewhere(subjects: Sequence[Subject], *, reports: bool) -> list[Section]:
    """None, if nothing is known. ``reports``: whether devices' own reports are told of, which have no page here."""
    lines = tuple(line for subject in subjects for line in _lines(subject, reports=reports))
    if not lines:
        return []
    caption = "Each device is a measurement of its own: its ms do not compare with those on this page."
    columns = ("model", "devices", "as told by", "page, or the command that makes it")
    return [Section(ELSEWHERE, "Measured on other devices", tables=(Table(caption, columns, lines, wide=True),))]


def _lines(subject: Subject, *, reports: bool) -> Iterator[Line]:
    if reports and subject.on_devices:
        devices = dict.fromkeys(one.device.name for one in subject.on_devices)
        link = Link(f"{subject.model} on devices", page_in(Path(subject.folder)))
        yield _line(subject, devices, "their own reports", commands.report(subject.folder), link)
    for run in subject.runs:
        link = Link(f"devices of {run.name}", page_in(run.folder))
        yield _line(subject, run.devices, f"the fleet's run {run.name}", commands.report(run.folder), link)


def _line(subject: Subject, devices: Sequence[str] | dict[str, None], source: str, command: str, link: Link) -> Line:
    return Line((Cell(subject.model), Cell(", ".join(devices) or "no other"), Cell(source), Cell(command, link=link)))
