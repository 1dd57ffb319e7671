"""A page as one HTML file: every chart first as SVG, made interactive by one script; nothing is fetched.

Templates escape what comes from data. The page's own policy forbids every request, and every script but these two, by
their hashes.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bench.report import theme
from bench.report.views import Page

TEMPLATES = "templates"
VEGA_LITE = "6.4"
"""The version that Altair's specifications are of; a test compares them."""


def html(page: Page) -> str:
    """Return the whole file as text."""
    charts = [chart for section in page.sections for chart in section.charts]
    bundle, upgrade = _bundle(), _template("upgrade.js")
    loader = PackageLoader("bench.report", TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters["unbroken"] = _unbroken
    return environment.get_template("page.html.j2").render(
        page=page,
        style=Markup(_template("page.css") + _dark_pictures()),
        pictures={chart.id: Markup(svg(chart.spec)) for chart in charts},
        specifications={chart.id: chart.spec for chart in charts},
        bundle=Markup(bundle),
        upgrade=Markup(upgrade),
        script_hashes=Markup(" ".join(map(_csp_hash, (bundle, upgrade)))),
    )


def svg(spec: Mapping[str, Any]) -> str:
    """Return a specification as SVG markup, without a background and without a browser."""
    return str(vl_convert.vegalite_to_svg(dict(spec), vl_version=VEGA_LITE))


@cache
def _bundle() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script, which sets ``window.vegaEmbed``."""
    return str(vl_convert.javascript_bundle(vl_version=VEGA_LITE))  # type: ignore[call-arg]


def _unbroken(text: str) -> Markup:
    """Return text that wraps neither within an option nor between a figure and its unit."""
    options = re.sub(r"(?<!\S)--?[a-z][\w-]*", r'<span class="option">\g<0></span>', str(escape(text)))
    return Markup(re.sub(r"(?<=\d) (?=(?:%|×|ms|mm|MB|MiB)(?!\w))", "\u00a0", options))


def _template(name: str) -> str:
    return (files("bench.report") / TEMPLATES / name).read_text(encoding="utf-8")


def _dark_pictures() -> str:
    """Return rules that give each colour of a picture its dark one; on paper there is no dark."""
    rules = [
        f'svg [{attribute}="{light}"] {{ {attribute}: {dark}; }}'
        for light, dark in theme.DARK.items()
        for attribute in ("fill", "stroke")
    ]
    return "@media screen and (prefers-color-scheme: dark) {\n  " + "\n  ".join(rules) + "\n}\n"


def _csp_hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
