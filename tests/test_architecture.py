"""Structure and vocabulary of the source tree: packages, their documentation, and names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.common.files import PROJECT

PRODUCT = ("export", "bench", "cli", "scripts")
ENTRY_POINTS = 3
NAMES = """
alone absent asked blame border contender drift edition endings entrant found given held here how kept ledger lies
made meant named of one others price pulse rest roster said seat seen shelf shown subject theirs there told visit
visitor wanted what whose why
"""
"""No name is a pronoun, a participle, or a figure of speech."""
WORDS = """
blame|border|contender|edition|entrant|in vain|living network|price|put aside|roster|seat|shelved?|strange|
subject|told|visit(or)?s?|whose|no convolution bears|cannot tell
"""
"""Words that no message has, since the glossary has another."""
ALLOWED_NAMES = {"bench/datasets": {"subject"}, "bench/fleet": {"found"}, "bench/results": {"asked"}}
"""Terms of the field (Human3.6M calls a person a subject), and keys of files."""


def folders(*tops: str) -> Iterator[Path]:
    for top in tops:
        for path in (PROJECT / top).rglob("__init__.py"):
            yield path.parent


PACKAGES = [path.relative_to(PROJECT).as_posix() for path in folders(*PRODUCT) if "bundle/device" not in str(path)]
FILES = {
    package: sorted(path for path in (PROJECT / package).glob("*.py"))
    for package in (
        *PACKAGES,
        "export/bundle/device",
        "export/bundle/device/pose_runtime",
        "export/bundle/device/pose_verify",
    )
}


def names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def messages_in(tree: ast.AST) -> Iterator[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def forbidden_names(source: str, package: str) -> set[str]:
    forbidden = set(NAMES.split()) - ALLOWED_NAMES.get(package, set())
    return {name for name in names_in(ast.parse(source)) if name.strip("_").lower() in forbidden}


def forbidden_words(source: str, package: str) -> set[str]:
    pattern = re.compile(rf"\b({WORDS.replace(chr(10), '')})\b", re.IGNORECASE)
    words = {match[0] for text in messages_in(ast.parse(source)) if " " in text for match in pattern.finditer(text)}
    return words - ALLOWED_NAMES.get(package, set())


@pytest.mark.parametrize("top", ["export", "bench"])
def test_no_module_lies_beside_the_packages(top: str) -> None:
    flat = [path.name for path in (PROJECT / top).glob("*.py") if path.name != "__init__.py"]
    assert len(flat) <= ENTRY_POINTS, flat


def test_every_package_is_in_the_documentation() -> None:
    text = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    assert [package for package in PACKAGES if f"`{package}/`" not in text] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_goes_in_and_what_comes_out(package: str) -> None:
    text = ast.get_docstring(ast.parse((PROJECT / package / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert len(text.splitlines()) >= 3, text


def unclear_docstrings(source: str) -> list[str]:
    """Return the texts of modules, classes, functions and attributes that begin with a word of a clause."""
    texts = [text for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr) for text in text_of(node.value)]
    return [text.splitlines()[0] for text in texts if re.match(r"(Of|Whether|What|How|Who|Why|Where|When) ", text)]


def text_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


@pytest.mark.parametrize("package", FILES)
def test_docstrings_begin_with_nouns_or_verbs(package: str) -> None:
    assert [text for path in FILES[package] for text in unclear_docstrings(path.read_text(encoding="utf-8"))] == []


def test_an_unclear_docstring_is_noticed() -> None:
    source = '"""What it is."""\nclass A:\n    x: int\n    """Of the first."""\n    y: int\n    """Number of rows."""\n'
    assert unclear_docstrings(source) == ["What it is.", "Of the first."]


@pytest.mark.parametrize("package", FILES)
def test_names_and_messages_are_those_of_the_glossary(package: str) -> None:
    found = {}
    for path in FILES[package]:
        source = path.read_text(encoding="utf-8")
        if wrong := forbidden_names(source, package) | forbidden_words(source, package):
            found[path.name] = wrong
    assert found == {}


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("def told(): pass", {"told"}),
        ("def f(of): return of", {"of"}),
        ("seen = 1", {"seen"}),
        ("import x as theirs", {"theirs"}),
        ("for _made in (): pass", {"_made"}),
        ("print('the price of it')", {"price"}),
        ('"""The price."""', set()),
        ("reason = 'out of memory'", set()),
    ],
)
def test_forbidden_names_and_words_are_noticed(source: str, wrong: set[str]) -> None:
    assert forbidden_names(source, "export/model") | forbidden_words(source, "export/model") == wrong
