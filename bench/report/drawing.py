"""Specifications as pictures: SVG without a browser, and the library that makes them interactive in one."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from export.common.extras import require_modules

VEGA_LITE = "6.4"
"""The version that Altair's specifications are of; a test compares them."""


def svg(spec: Mapping[str, Any]) -> str:
    """Return SVG markup, without a background."""
    return str(_converter().vegalite_to_svg(dict(spec), vl_version=VEGA_LITE))


@cache
def bundle() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script, which sets ``window.vegaEmbed``."""
    return str(_converter().javascript_bundle(vl_version=VEGA_LITE))


def require_report_extra() -> None:
    """Check, before anything is read, that a page can be made.

    Raises:
        NotPossible: the libraries of the extra are missing.
    """
    require_modules("a report", "altair", "jinja2", "vl_convert")


def _converter() -> Any:
    import vl_convert

    return vl_convert
