"""Command lines in the documentation, and the real command line that parses them."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import typer

from cli.main import app
from tests.support.command_line import ROOT

VERBS = ("convnextpose", "make")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each ``convnextpose`` and ``make`` call in a script, up to where the shell takes over."""
    script = re.sub(r"\$\{\{.*?\}\}", "value", text.replace("\\\n", " "))
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|<>"):
                if words and Path(words[0]).name in VERBS:
                    yield [Path(words[0]).name, *words[1:]]
                words = []
            else:
                words.append(word)


def parse(command: list[str]) -> None:
    """Parse a command with the real command line, without running it.

    Raises:
        Exception: the command line does not accept it.
    """
    if command[0] == "convnextpose":
        verbs = typer.main.get_command(app)
        verb = verbs.commands[command[1]]  # type: ignore[attr-defined]
        verb.make_context(command[1], command[2:])
        return
    arguments = command[1:]
    if "-C" in arguments:
        at = arguments.index("-C")
        del arguments[at : at + 2]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for variable in (word.split("=")[0] for word in arguments if "=" in word):
        if not re.search(rf"^{variable} \?=", makefile, re.M):
            raise KeyError(variable)
    subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, check=True, timeout=30)
