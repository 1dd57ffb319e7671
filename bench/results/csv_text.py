"""Rows as CSV for a spreadsheet, in which no text is a formula or a control character."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from export.common.plain import printable

FORMULA = ("=", "+", "-", "@")
"""First characters at which a spreadsheet evaluates a cell."""


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return the CSV with a header; missing cells are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return "'" + text if text.lstrip().startswith(FORMULA) else text
