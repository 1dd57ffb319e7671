"""What a page is made of, before it is HTML or Markdown: values that are already worded."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from export.parity import EXPLAINED, PASSED

Tone = Literal["", "good", "warn", "bad", "dim"]
"""Never the only carrier of a meaning: the words beside it say the same."""


def parity_tone(status: str) -> Tone:
    """How a parity's status looks: what was asked no limit in mm is no good news."""
    return "good" if status == PASSED else "warn" if status == EXPLAINED else "bad"


@dataclass(frozen=True)
class Link:
    """Another page, which may be there or not."""

    title: str
    page: Path


@dataclass(frozen=True)
class Cell:
    """One value of a table; ``note`` stands below it, smaller: its boundary, its samples, its reason."""

    text: str
    note: str = ""
    tone: Tone = ""
    span: int = 1
    """How many columns it fills."""
    link: Link | None = None
    """Stands in place of the text where its page is there."""


@dataclass(frozen=True)
class Line:
    """One line of a table; ``greyed``: shown, never ranked."""

    cells: tuple[Cell, ...]
    standing: Literal["", "chosen", "greyed"] = ""


@dataclass(frozen=True)
class Table:
    """A table whose first column names the line."""

    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    wide: bool = False
    """Becomes one card a line where the window is narrow."""
    dense: bool = False
    """Many short values: none of them is broken into lines."""
    groups: tuple[tuple[str, int], ...] = ()
    """What stands above the columns: a name and how many of them it is of."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Each column with the name that stands above it: what it is called where it stands alone."""
        above = [name for name, count in self.groups for _ in range(count)] or [""] * len(self.columns)
        return tuple(f"{name}: {column}" if name else column for name, column in zip(above, self.columns, strict=True))

    @property
    def starts(self) -> tuple[int, ...]:
        """The columns with which a group begins, but for the first."""
        return tuple(itertools.accumulate(count for _, count in self.groups))

    def labelled(self, line: Line) -> tuple[tuple[str, Cell, bool], ...]:
        """Each cell of the line: what it is called (if it fills several columns, by what is above), and whether a group
        begins with it."""
        found, at = [], 0
        for cell in line.cells:
            label = self.labels[at]
            named = label if cell.span == 1 else label.removesuffix(f": {self.columns[at]}")
            found.append((named, cell, at in self.starts))
            at += cell.span
        return tuple(found)


@dataclass(frozen=True)
class Figure:
    """A Vega-Lite specification, with what it shows in words."""

    id: str
    title: str
    alt: str
    spec: Mapping[str, Any]
    note: str = ""


@dataclass(frozen=True)
class Missing:
    """What is not there, why, and the command that makes it."""

    what: str
    reason: str
    command: str | None = None


@dataclass(frozen=True)
class Section:
    """A part of a page. ``folded``: a reader opens it."""

    id: str
    title: str
    lead: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    commands: tuple[str, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Answer:
    """One of the five questions that a reader comes with."""

    question: str
    text: str
    details: tuple[str, ...] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    answers: tuple[Answer, ...]
    sections: tuple[Section, ...]
    notices: tuple[str, ...] = ()
    """What qualifies everything: an interrupted run, weights that were never trained."""
    device: tuple[tuple[str, str], ...] = field(default=())
    """The device card: name and value."""
