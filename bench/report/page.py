"""A page as one HTML file: every picture first as SVG, made interactive by one script; nothing is fetched.

What comes from data is escaped by the templates, and the page forbids by its own policy every script but these two, by
their hashes, and every request.
"""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.report import drawing, theme
from bench.report.links import Addresses, nowhere
from bench.report.views import Page

TEMPLATES = "templates"


def html(page: Page, address: Addresses = nowhere) -> str:
    """The whole file, as text; ``address`` tells which other pages it can link."""
    figures = [figure for section in page.sections for figure in section.figures]
    bundle, upgrade = drawing.bundle(), template("upgrade.js")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            address=address,
            style=Markup(template("page.css") + dark_pictures()),
            pictures={figure.id: Markup(drawing.svg(figure.spec)) for figure in figures},
            specifications={figure.id: figure.spec for figure in figures},
            bundle=Markup(bundle),
            upgrade=Markup(upgrade),
            script_hashes=Markup(" ".join(map(_csp_hash, (bundle, upgrade)))),
        )
    )


def template(name: str) -> str:
    """One of the files beside the templates."""
    return (files("bench.report") / TEMPLATES / name).read_text(encoding="utf-8")


def dark_pictures() -> str:
    """Rules that give each colour of a picture its dark one; on paper there is no dark."""
    rules = [
        f'svg [{attribute}="{light}"] {{ {attribute}: {dark}; }}'
        for light, dark in theme.DARK.items()
        for attribute in ("fill", "stroke")
    ]
    return "@media screen and (prefers-color-scheme: dark) {\n  " + "\n  ".join(rules) + "\n}\n"


def _environment() -> Environment:
    loader = PackageLoader("bench.report", TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=False)


def _csp_hash(script: str) -> str:
    digest: Any = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
