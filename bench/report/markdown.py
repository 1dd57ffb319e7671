"""The short version, for a notebook or a pull request: the decision, the main tables, and what was not tested."""

import re
from collections.abc import Iterator, Sequence

from bench.report.views import Cell, Page, Table

SECTIONS = ("decision", "gate", "rows", "devices", "untested")
NOT_CODE = dict.fromkeys(map(ord, "`<"))
"""Characters that could end a span of code, or be taken for HTML; only a hostile name has them."""


def markdown(page: Page) -> str:
    """Return GitHub-flavoured text; what comes from data is escaped."""
    return "\n".join(_lines(page)).rstrip() + "\n"


def escape(text: str) -> str:
    """Return plain text for a line or a cell: no markup, no HTML, no line break."""
    flat = re.sub(r"\s+", " ", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return re.sub(r"([\\`*_{}\[\]#|!~@])", r"\\\1", flat)


def _lines(page: Page) -> Iterator[str]:
    yield f"# {escape(page.head.text)}"
    yield ""
    yield f"{escape(page.title)}: {escape(page.subtitle)}"
    yield ""
    for name, code in page.head.steps:
        yield f"- {name}: `{code.translate(NOT_CODE)}`"
    for notice in page.notices:
        yield f"\n> **{escape(notice)}**"
    yield ""
    for answer in page.answers:
        yield f"- **{escape(answer.question)}** {escape(_sentences([answer.text, *answer.details]))}"
    for section in page.sections:
        if section.id in SECTIONS and section.tables:
            yield f"\n## {escape(section.title)}"
            for text in section.lead:
                yield f"\n{escape(text)}"
            for table in section.tables:
                yield ""
                yield from _table(table)


def _sentences(texts: Sequence[str]) -> str:
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts if text)


def _table(table: Table) -> Iterator[str]:
    columns = [index for index, name in enumerate(table.columns) if not table.brief or name in table.brief]
    yield "| " + " | ".join(escape(table.columns[index]) for index in columns) + " |"
    yield "|" + "---|" * len(columns)
    for line in table.lines:
        bold = line.standing == "chosen"
        yield "| " + " | ".join(_cell(line.cells[index], bold=bold and not index) for index in columns) + " |"
    yield f"\n<sub>{escape(table.caption)}</sub>"


def _cell(cell: Cell, *, bold: bool) -> str:
    text = f"**{escape(cell.text)}**" if bold else escape(cell.text)
    return f"{text}<br><sub>{escape(cell.note)}</sub>" if cell.note else text
