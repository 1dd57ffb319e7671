"""``convnextpose doctor``: list what this machine can build and run, and what it lacks."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson


def command(
    out: Annotated[Path, typer.Option(help="The folder of results, for its free disk space.")] = Path("build"),
    require: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Exit with 4 if this machine lacks this capability.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show packages, processor, memory, disk and GPU, and the capabilities that follow from them."""
    import json

    from bench.machine.doctor import capabilities, report
    from bench.machine.doctor import require as require_capable
    from bench.machine.facts import collect_facts
    from cli.render.doctor import print_doctor

    machine = collect_facts(out)
    if as_json:
        print(json.dumps(report(machine), indent=2))
    else:
        print_doctor(machine, capabilities(machine))
    require_capable(capabilities(machine), require or [])
