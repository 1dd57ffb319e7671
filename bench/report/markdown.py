"""The short version, for a pull request: answers, the decision table's main columns, three pictures, what is open."""

import re
from collections.abc import Iterator, Sequence

from bench.report.devices.tables import model_table
from bench.report.recommend import Recommendation
from bench.report.sections.decision import BRIEF, decision_table
from bench.report.sections.elsewhere import ELSEWHERE
from bench.report.sections.untested import gaps
from bench.report.subject import Subject
from bench.report.views import Cell, Figure, Page, Section, Table

PICTURES = ("pareto", "forest", "tail", "devices")
"""Figures that come along, as PNG beside the file: these, and of the last those with a number."""


def markdown(page: Page, subjects: Sequence[tuple[Subject, Recommendation]]) -> str:
    """GitHub-flavoured; what comes from data is escaped."""
    return "\n".join(_lines(page, subjects)).rstrip() + "\n"


def pictures(page: Page) -> list[Figure]:
    """Those that the text links."""
    figures = [figure for section in page.sections for figure in section.figures]
    return [figure for figure in figures if figure.id.split("-")[0] in PICTURES]


def escape(text: str) -> str:
    """Plain text for a line or a table cell: no markup, no HTML, no line break."""
    flat = re.sub(r"\s+", " ", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return re.sub(r"([\\`*_{}\[\]#|!~@])", r"\\\1", flat)


def devices_markdown(page: Page) -> str:
    """The same of a page of devices: answers, what to ship where, every row, pictures, what is open."""
    return "\n".join(_devices_lines(page)).rstrip() + "\n"


def _head(page: Page) -> Iterator[str]:
    yield f"# {escape(page.title)}"
    yield ""
    yield escape(page.subtitle)
    for notice in page.notices:
        yield ""
        yield f"> **{escape(notice)}**"
    yield ""
    for answer in page.answers:
        said = sentences([answer.text, *answer.details])
        yield f"- **{escape(answer.question)}** {escape(said)}"


def _pictures(page: Page) -> Iterator[str]:
    for figure in pictures(page):
        yield ""
        yield f"![{escape(figure.alt)}]({figure.id}.png)"


def _lines(page: Page, subjects: Sequence[tuple[Subject, Recommendation]]) -> Iterator[str]:
    yield from _head(page)
    for subject, found in subjects:
        if subject.bench is not None:
            yield ""
            yield f"## {escape(subject.model)}" if len(subjects) > 1 else "## Decision table"
            yield ""
            yield from _table(decision_table(subject.rows, found.row, BRIEF))
        if subject.on_devices and len(subjects) == 1:
            yield ""
            yield "## On devices"
            yield ""
            yield from _table(model_table(subject.on_devices))
    yield from _pictures(page)
    for section in page.sections:
        if section.id == ELSEWHERE:
            yield from _section(section)
    yield ""
    yield "## Not tested"
    yield ""
    for subject, found in subjects:
        name = f"{subject.model}: " if len(subjects) > 1 else ""
        for one in gaps(subject, found.row):
            yield f"- {escape(f'{name}{one.what}: {one.reason}')}"
    if page.device:
        yield ""
        yield "Measured on: " + "; ".join(f"{escape(name)} {escape(value)}" for name, value in page.device)


def _devices_lines(page: Page) -> Iterator[str]:
    yield from _head(page)
    for section in page.sections:
        if section.tables:
            yield from _section(section)
        elif section.figures:
            yield from _pictures(page)


def _section(section: Section) -> Iterator[str]:
    yield ""
    yield f"## {escape(section.title)}"
    for table in section.tables:
        yield ""
        yield from _table(table)


def sentences(texts: Sequence[str]) -> str:
    """One after the other, each with its own end."""
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text)


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(escape, table.labels)) + " |"
    yield "|" + "---|" * len(table.columns)
    for line in table.lines:
        bold = line.standing == "chosen"
        cells = [_cell(cell, bold=bold and index == 0) for index, cell in enumerate(line.cells)]
        filled = [
            text for cell, shown in zip(line.cells, cells, strict=True) for text in (shown, *[""] * (cell.span - 1))
        ]
        yield "| " + " | ".join(filled) + " |"
    yield ""
    yield f"<sub>{escape(table.caption)}</sub>"


def _cell(cell: Cell, *, bold: bool) -> str:
    text = f"**{escape(cell.text)}**" if bold else escape(cell.text)
    return f"{text}<br><sub>{escape(cell.note)}</sub>" if cell.note else text
