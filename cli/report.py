"""``convnextpose report``: a page that says what to ship, from what was measured."""

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
        Path | None,
        typer.Option(metavar="FILE.json", help="The file that `compare --out` wrote: adds a section."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page that says what to ship: HTML and Markdown, of models or of devices side by side.

    Nothing is measured: it reads the files of export, bench and evaluate, and says which of them are missing. Damaged
    files are named; the other pages are written, and then the exit code is 2.
    """
    import json

    from export.common.extras import require_modules

    require_modules("a report", "altair", "jinja2", "vl_convert")
    from bench.report.write import as_json as plain
    from bench.report.write import write_reports
    from cli.console import raise_all
    from cli.render.report import print_report

    written = write_reports(folders, out, gate)
    if as_json:
        print(json.dumps(plain(written), indent=2))
    else:
        for report in filter(None, (written.models, *written.devices)):
            print_report(report)
    raise_all(written.refused)
