"""The parts of a page before it is HTML or Markdown: values that are already worded."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

from export.common.plain import printable
from export.common.program import runnable
from export.parity.budgets import PASS, WITHIN_ROUNDING

Tone = Literal["", "good", "warn", "bad", "dim"]
"""Never the only carrier of a meaning: the words beside it say the same."""

Standing = Literal["", "chosen", "greyed"]

VERDICT_TONES: Mapping[str, Tone] = {"stable": "good", "noisy": "warn", "unstable": "bad", "invalid": "bad"}


def parity_tone(status: str) -> Tone:
    """Return the tone of a parity status; without an error budget nothing is said to pass."""
    return "good" if status == PASS else "warn" if status == WITHIN_ROUNDING else "bad"


@dataclass(frozen=True)
class Cell:
    """One value of a table; ``note`` stands below it, smaller."""

    text: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Line:
    """One line of a table; ``greyed``: shown, never ranked."""

    cells: tuple[Cell, ...]
    standing: Standing = ""


def line(*values: Cell | str, standing: Standing = "") -> Line:
    """Return a line of cells; a text is a cell without a note."""
    return Line(tuple(Cell(value) if isinstance(value, str) else value for value in values), standing)


@dataclass(frozen=True)
class Table:
    """A table; its first column names the line."""

    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    brief: tuple[str, ...] = ()
    """The columns that are shown first, and alone in a pull request; none: all."""


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite specification, with what it shows in words."""

    id: str
    title: str
    """Its message."""
    alt: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Missing:
    """Something that was not tested, with the reason and the command that tests it."""

    item: str
    reason: str
    command: str | None = None
    possible: bool = True
    """False: this machine cannot make it."""


@dataclass(frozen=True)
class Section:
    """A part of a page."""

    id: str
    title: str
    lead: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    commands: tuple[str, ...] = ()
    folded: bool = False
    """Closed until a reader opens it."""
    half: bool = False
    """Takes half the width of a wide window."""


@dataclass(frozen=True)
class Head:
    """The decision in one sentence."""

    text: str
    tone: Tone = ""
    steps: tuple[tuple[str, str], ...] = ()
    """The next actions, each with a path or a command."""


@dataclass(frozen=True)
class Answer:
    """A question about the decision, with at most three details."""

    question: str
    text: str
    details: tuple[str, ...] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    head: Head
    answers: tuple[Answer, ...]
    sections: tuple[Section, ...]
    notices: tuple[str, ...] = ()
    """Limits of everything on the page: an interrupted run, weights that were never trained."""


def clean(value: Any) -> Any:
    """Return a copy in which every text is printable, and every command one that this shell can run.

    Names in files may hold anything. A control character ends the program that draws it (vl-convert), or is no XML.
    """
    if isinstance(value, str):
        return runnable(printable(value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: clean(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, (tuple, list)):
        return type(value)(map(clean, value))
    if isinstance(value, Mapping):
        return {clean(name): clean(item) for name, item in value.items()}
    return value
