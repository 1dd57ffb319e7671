"""Where pages lie, and how one leads to another: by a relative address, and only to a file that is there."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import quote

HTML, PLACE = "report.html", "report"

Addresses = Callable[[Path], str | None]
"""A page's file → how another page links it; None: it is not there."""


def page_in(folder: Path) -> Path:
    """The page of a model, of a run, or of one device of a run, where it usually lies."""
    return folder / PLACE / HTML


def addresses_from(place: Path, written: Collection[Path]) -> Addresses:
    """For a page in ``place``; ``written``: pages that will be there in a moment."""
    known = {path.resolve() for path in written}

    def address(page: Path) -> str | None:
        there = page.resolve()
        if there not in known and not there.is_file():
            return None
        return quote(Path(os.path.relpath(there, place.resolve())).as_posix())

    return address


def nowhere(_: Path) -> None:
    """For a page that stands alone."""
