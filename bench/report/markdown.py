"""The short version, for a pull request: answers, the decision table's main columns, three pictures, what is open."""

import re
from collections.abc import Iterator, Sequence

from bench.report.recommend import Recommendation
from bench.report.sections.decision import BRIEF, decision_table
from bench.report.sections.untested import gaps
from bench.report.subject import Subject
from bench.report.views import Cell, Figure, Page, Table

PICTURES = ("pareto", "forest", "tail")
"""Figures that come along, as PNG beside the file."""


def markdown(page: Page, subjects: Sequence[tuple[Subject, Recommendation]]) -> str:
    """GitHub-flavoured; what comes from data is escaped."""
    return "\n".join(_lines(page, subjects)).rstrip() + "\n"


def pictures(page: Page) -> list[Figure]:
    """Those that the text links."""
    return [figure for section in page.sections for figure in section.figures if figure.id in PICTURES]


def escape(text: str) -> str:
    """Plain text for a line or a table cell: no markup, no HTML, no line break."""
    flat = re.sub(r"\s+", " ", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return re.sub(r"([\\`*_{}\[\]#|!~@])", r"\\\1", flat)


def _lines(page: Page, subjects: Sequence[tuple[Subject, Recommendation]]) -> Iterator[str]:
    yield f"# {escape(page.title)}"
    yield ""
    yield escape(page.subtitle)
    for notice in page.notices:
        yield ""
        yield f"> **{escape(notice)}**"
    yield ""
    for answer in page.answers:
        yield f"- **{escape(answer.question)}** {escape(answer.text)}. {escape('; '.join(answer.details))}"
    for subject, found in subjects:
        if subject.bench is not None:
            yield ""
            yield f"## {escape(subject.model)}" if len(subjects) > 1 else "## Decision table"
            yield ""
            yield from _table(decision_table(subject.rows, found.row, BRIEF))
    for figure in pictures(page):
        yield ""
        yield f"![{escape(figure.alt)}]({figure.id}.png)"
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


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(escape, table.columns)) + " |"
    yield "|" + "---|" * len(table.columns)
    for line in table.lines:
        bold = line.standing == "chosen"
        yield "| " + " | ".join(_cell(cell, bold=bold and index == 0) for index, cell in enumerate(line.cells)) + " |"
    yield ""
    yield f"<sub>{escape(table.caption)}</sub>"


def _cell(cell: Cell, *, bold: bool) -> str:
    text = f"**{escape(cell.text)}**" if bold else escape(cell.text)
    return f"{text}<br><sub>{escape(cell.note)}</sub>" if cell.note else text
