"""Console that escapes what would command a terminal."""

import io

from rich.table import Table
from rich.text import Text

from cli.console import PrintableConsole

HOSTILE = "a\x1b]0;owned\x07\x1b[31mb\x9b"


def printed(thing: object, *, color: bool = False) -> str:
    console = PrintableConsole(file=io.StringIO(), force_terminal=color, width=80)
    console.print(thing)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_control_characters_are_escaped_in_text_and_in_tables() -> None:
    grid = Table("name")
    grid.add_row(Text(HOSTILE))
    for thing in (HOSTILE, Text(HOSTILE), grid):
        text = printed(thing)
        assert "\\x1b" in text
        assert not set("\x1b\x07\x9b") & set(text)


def test_lines_and_own_colours_stay() -> None:
    assert printed("one\ntwo") == "one\ntwo\n"
    assert printed("[red]one[/]", color=True) == "\x1b[31mone\x1b[0m\n"
