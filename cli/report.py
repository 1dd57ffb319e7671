"""``convnextpose report``: one page that says what to ship, from what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER…",
            help="Folders that `export` filled, as build/S; build, for all in it; OUT/fleet/RUN of a fleet; or "
            "device-report.json, as a bundle's verify.py writes it.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="By default FOLDER/report; of several, a report/ beside them.")
    ] = None,
    gate: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="What `compare --out` wrote: a section, and junit.xml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """HTML, Markdown, CSV and a badge of one model, or of several of one machine; a page of each fleet, of devices.

    Nothing is measured: it reads the files of export, bench and evaluate, and says which of them are missing. What is
    damaged is named, and ends it with exit code 2 after all other pages were written.
    """
    import json

    from bench.report.write import write_reports
    from cli import render_report
    from cli.console import raise_all

    report = write_reports(folders, out, gate)
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        render_report.reports(report)
    raise_all(report.refused)
