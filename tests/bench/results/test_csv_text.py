"""CSV for a spreadsheet."""

import csv
import io

import pytest

from bench.results.csv_text import csv_text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        (" @SUM(A1)", "' @SUM(A1)"),
        ("+1", "'+1"),
        ("-1+cmd", "'-1+cmd"),
        ("\t=1", "\\t=1"),
        ("a=b", "a=b"),
        ("\x1b[31m", "\\x1b[31m"),
        (-1.5, "-1.5"),
        (None, ""),
    ],
)
def test_no_text_is_a_formula(value: object, cell: str) -> None:
    [row] = csv.DictReader(io.StringIO(csv_text(("a", "b"), [{"a": value}])))
    assert row == {"a": cell, "b": ""}
