"""``convnextpose doctor``: what this machine can build and run, and what it lacks."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson


def command(
    out: Annotated[Path, typer.Option(help="Where results will go; its disk is looked at.")] = Path("build"),
    require: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="End with exit 4 if this machine cannot do it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at packages, processor, memory, disk and GPU; say what follows from them."""
    import json

    from bench.machine.doctor import capabilities, report
    from bench.machine.doctor import require as require_capable
    from bench.machine.facts import collect_facts
    from cli.render import tables as render

    seen = collect_facts(out)
    if as_json:
        print(json.dumps(report(seen), indent=2))
    else:
        render.doctor(seen, capabilities(seen))
    require_capable(capabilities(seen), require or [])
