"""The documentation: its commands are understood, its generated pages are current, and its site builds."""

import re
from pathlib import Path

import pytest

from scripts import write_reference
from tests.support.command_line import ROOT
from tests.support.documentation import commands, parse

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
RESULTS = ("bench/result.json", "bench/samples.npz", "demo/figure.png")
"""Paths in an exported folder, not in the repository."""


def shell_blocks(page: Path) -> str:
    """Return the shell scripts of a page, without the prompts and answers of transcripts."""
    return "\n".join(re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.S))


def inline_commands(page: Path) -> str:
    """Return the commands in the text of a page; two words only name a command."""
    found = re.findall(r"`((?:convnextpose|make) [^`<…]+)`", page.read_text(encoding="utf-8"))
    return "\n".join(" ".join(text.split()) for text in found if "[" not in text and len(text.split()) > 2)


COMMANDS = sorted(
    {
        tuple(words)
        for page in PAGES
        if page.name != "commands.md"
        for words in commands(shell_blocks(page).replace("$ ", "") + "\n" + inline_commands(page))
        if not any("/dev" in word or "…" in word for word in words)
    }
)


def test_the_documentation_has_commands() -> None:
    assert {words[1] for words in COMMANDS if words[0] == "convnextpose"} >= {"inspect", "evaluate"}
    assert {words[1] for words in COMMANDS if words[0] == "make"} >= {"export", "bench", "report", "bundle", "test"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_understood(words: tuple[str, ...]) -> None:
    parse(list(words))


@pytest.mark.parametrize(
    "text",
    [
        ".venv/bin/convnextpose compare a b --no-such-option || code=$?",
        "convnextpose compare a",
        "convnextpose no-such-verb",
        "convnextpose bench build/S --budget soon",
        "make no-such-target",
        "make export NO_SUCH_VARIABLE=1",
    ],
)
def test_a_command_that_has_rotted_is_noticed(text: str) -> None:
    (command,) = commands(text)
    with pytest.raises(Exception):  # noqa: B017, PT011
        parse(command)


def test_the_generated_pages_are_current(tmp_path: Path) -> None:
    write_reference.write(tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(made) > len(write_reference.SCHEMAS)
    for path in made:
        current = (write_reference.REFERENCE / path).read_text(encoding="utf-8")
        assert current == (tmp_path / path).read_text(encoding="utf-8"), "run python -m scripts.write_reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`((?:export|bench|cli|demo|tests|scripts|docs|configs)/[\w./-]+)`", text):
        assert path in RESULTS or list(ROOT.glob(path.rstrip("/"))), path


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in menu] == []
