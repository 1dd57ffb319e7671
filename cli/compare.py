"""``convnextpose compare``: may this candidate replace that baseline?"""

from pathlib import Path
from typing import Annotated

import typer

from cli.exclusive import exclusive_machine
from cli.options import AsJson
from cli.signals import INTERRUPTED


def command(
    base: Annotated[Path, typer.Argument(help="An exported folder, or a result.json that `bench` wrote.")],
    candidate: Annotated[Path, typer.Argument(help="Another of the same kind.")],
    runtime: Annotated[
        str, typer.Option(metavar="NAMES", help="Runtimes, separated by commas; for folders.")
    ] = "onnxruntime,openvino",
    precision: Annotated[
        str | None, typer.Option(metavar="fp32,int8", help="Precisions, separated by commas; by default all in common.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="By default all cores.")] = None,
    budget: Annotated[float, typer.Option(min=1, metavar="S", help="Seconds for the rounds of all together.")] = 240,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Where the comparison is written.")] = None,
    as_json: AsJson = False,
) -> None:
    """PASS or IMPROVED (exit 0), FAIL (1), INCONCLUSIVE (3) or REFUSED (4).

    Two folders are measured side by side on this machine; two results are compared only if machine, software and
    protocol are the same, by each one's speed-up over its own reference.
    """
    import json

    from bench.gate.compare import compare_folders
    from bench.gate.stored import compare_results
    from bench.harness.benchmark import QUICK_MODE
    from bench.harness.settings import Settings
    from bench.machine.system import usable_cores
    from bench.results.result import read_result
    from bench.sessions.exported import read_export
    from bench.stats.stopping import StopRule
    from cli.bench import names
    from cli.console import ConsoleObserver
    from cli.render import compare as render_compare
    from export.common.errors import BadInput
    from export.common.files import write_json

    if base.is_dir() != candidate.is_dir():
        seen = f"{base} and {candidate}"
        raise BadInput("a folder cannot be compared with a stored result", seen, "give two folders, or two results")
    if base.is_dir():
        wanted = Settings(threads or usable_cores(), StopRule(budget_s=budget), QUICK_MODE.warm_up)
        folders, runtimes = (read_export(base), read_export(candidate)), names(runtime) or ()
        observer, alone = ConsoleObserver(), exclusive_machine(runtimes)
        try:
            progress = observer.listener("compare")
            found = compare_folders(*folders, runtimes, names(precision), wanted, progress, alone)
        finally:
            observer.stop()
    else:
        found = compare_results(read_result(base), read_result(candidate))
    record = found.as_json()
    if out is not None:
        write_json(out, record)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        render_compare.comparison(found)
    if not found.complete:
        raise typer.Exit(INTERRUPTED)
    render_compare.require_pass(found)
