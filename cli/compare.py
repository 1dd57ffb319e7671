"""``convnextpose compare``: decide whether a candidate is worse than a baseline."""

from pathlib import Path
from typing import Annotated

import typer

from cli.exclusive import exclusive_machine
from cli.options import AsJson, Verbose, lower
from cli.signals import INTERRUPTED


def command(
    base: Annotated[Path, typer.Argument(help="The baseline: a folder that `export` wrote.")],
    candidate: Annotated[Path, typer.Argument(help="The candidate: another one.")],
    runtime: Annotated[
        str, typer.Option(metavar="NAMES", callback=lower, help="Runtimes, separated by commas.")
    ] = "onnxruntime,openvino",
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="fp32,int8", callback=lower, help="Precisions, separated by commas; by default all that both have."
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="By default all cores.")] = None,
    budget: Annotated[float, typer.Option(metavar="S", help="Time for all rounds, at least 1 s.")] = 240,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the comparison to this file.")] = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Compare latency: PASS or IMPROVED (exit 0), FAIL (1) or INCONCLUSIVE (3).

    The two are measured side by side on this machine.
    """
    import json

    from bench.gate.compare import compare_folders
    from bench.harness.benchmark import QUICK_MODE
    from bench.harness.settings import Settings
    from bench.sessions.exported import read_export
    from bench.stats.stopping import StopRule
    from cli.bench import names
    from cli.console import ConsoleObserver
    from cli.render.compare import print_comparison, print_decision, require_pass
    from export.common.files import write_json
    from export.pipeline.options import require_range
    from export.runtime.processor import default_threads

    require_range("--budget", budget, 1)
    settings = Settings(threads or default_threads(), StopRule(budget_s=budget), QUICK_MODE.settings.warm_up)
    folders, runtimes = (read_export(base), read_export(candidate)), names(runtime) or ()
    lock = exclusive_machine(runtimes)
    with ConsoleObserver() as observer:
        progress = observer.listener("compare")
        comparison = compare_folders(*folders, runtimes, names(precision), settings, progress, lock)
    record = comparison.as_json()
    if out is not None:
        write_json(out, record)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        if verbose:
            print_comparison(comparison)
        print_decision(comparison, base, candidate, budget, out)
    if not comparison.complete:
        raise typer.Exit(INTERRUPTED)
    require_pass(comparison)
