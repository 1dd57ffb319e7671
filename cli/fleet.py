"""``convnextpose fleet``: the same comparison on many machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson, Command, Group, Verbose

if TYPE_CHECKING:
    from bench.fleet.address import Scheduler
    from bench.fleet.plan import FleetPlan

app = typer.Typer(
    cls=Group, help="The same export, build and benchmark matrix on many machines, through Dask.", no_args_is_help=True
)

Address = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A Dask scheduler, as tls://lab:8786; without it this machine does all."),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow a plain connection to another machine.")]
Ca = Annotated[
    Path | None,
    typer.Option("--tls-ca", metavar="FILE", help="The authority's certificate; by default Dask's configuration."),
]
Cert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Your certificate.")]
Key = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Your key.")]
Wait = Annotated[float, typer.Option(min=0, metavar="S", help="How long a job waits for a worker to connect.")]
Folder = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="A run's folder; by default the latest in build/fleet.")
]

REFRESH_S = 1.0


@app.command(cls=Command)
def run(
    matrix: Annotated[Path, typer.Argument(help="matrix.yaml; see docs/how-to/fleet.md.")],
    scheduler: Address = None,
    again: Annotated[bool, typer.Option("--again", help="Measure finished jobs once more.")] = False,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    wait: Wait = 60.0,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Run models × precisions × runtimes × devices: export what is missing, measure on every device, compare."""
    from bench.fleet.matrix import read_matrix
    from bench.fleet.plan import plan_fleet
    from cli.console import ConsoleObserver
    from export.common.files import require_writable

    through = _scheduler(scheduler, insecure, tls_ca, tls_cert, tls_key, wait)
    content = read_matrix(matrix)
    require_writable(content.out)
    observer = ConsoleObserver()
    try:
        plan = plan_fleet(content, observer)
    finally:
        observer.stop()
    _run_and_print(plan, through, again=again, verbose=verbose, as_json=as_json)


@app.command(cls=Command)
def resume(
    folder: Folder = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="By default the run's scheduler.")] = None,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    wait: Wait = 60.0,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Continue a run: finished results are collected, and the missing jobs are done."""
    from bench.fleet.plan import plan_resumed
    from bench.fleet.record import read_fleet

    place = _run_folder(folder)
    record = read_fleet(place)
    through = _scheduler(scheduler or record.scheduler, insecure, tls_ca, tls_cert, tls_key, wait)
    _run_and_print(plan_resumed(place, record), through, again=False, verbose=verbose, as_json=as_json)


@app.command(cls=Command)
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Show devices, running jobs, done, failed, estimated end; on a terminal, until the run ends."""
    import sys
    import time

    from bench.fleet.record import going_on, read_fleet
    from cli.render import fleet as render

    place = _run_folder(folder)
    record = read_fleet(place)
    if as_json:
        print(record.model_dump_json(indent=2))
        return
    if sys.stdout.isatty() and going_on(place):
        with render.live(record) as show:
            while going_on(place):
                time.sleep(REFRESH_S)
                show(read_fleet(place))
    render.status(read_fleet(place), going_on=going_on(place))


@app.command(cls=Command)
def devices(
    scheduler: Address = None,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Describe each worker, with its doctor's report; without a scheduler this machine."""
    import json

    from cli.render import fleet as render
    from export.common.errors import NotPossible

    through, silent = _scheduler(scheduler, insecure, tls_ca, tls_cert, tls_key, 0), list[str]()
    if through is None:
        from bench.fleet.client import describe_here

        facts = [describe_here()]
    else:
        from bench.fleet.cluster import survey

        workers = survey(through)
        facts = [worker.facts for worker in workers if worker.facts]
        silent = [f"{worker.name}: {worker.problem}" for worker in workers if not worker.facts]
    if as_json:
        print(json.dumps([device.model_dump(mode="json") for device in facts], indent=2))
    else:
        render.devices(facts)
    if silent:
        advice = "check that the machine runs and has the same commit of this project installed (docs/how-to/fleet.md)"
        raise NotPossible(f"{len(silent)} workers do not describe themselves", "; ".join(silent), advice)


def _scheduler(
    address: str | None, insecure: bool, ca: Path | None, cert: Path | None, key: Path | None, wait_s: float
) -> "Scheduler | None":
    """Return the scheduler, if one is named.

    Raises:
        BadInput: the connection would not be safe, or a certificate is missing.
    """
    from bench.fleet.address import Scheduler, require_safe

    return None if address is None else Scheduler(require_safe(address, insecure=insecure), ca, cert, key, wait_s)


def _run_and_print(
    plan: "FleetPlan", scheduler: "Scheduler | None", *, again: bool, verbose: bool, as_json: bool
) -> None:
    """Run the plan with its progress, and compare the devices."""
    from bench.fleet.client import require_done, run_fleet
    from bench.fleet.record import measured
    from cli.render import fleet as render

    with render.live(None) as show:
        record = run_fleet(plan, scheduler, show, again=again)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        if verbose:
            render.side_by_side(record, measured(plan.folder, record), plan.folder)
        render.print_result(record, plan.folder)
    require_done(record)


def _run_folder(folder: Path | None) -> Path:
    """Return the named folder, or that of the latest run."""
    from bench.fleet.record import FLEET
    from export.common.errors import BadInput

    if folder is not None:
        return folder
    runs = sorted(Path("build/fleet").glob(f"*/{FLEET}"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise BadInput("there is no run in build/fleet", "no fleet.json in it", "name a run's folder: OUT/fleet/RUN")
    return runs[-1].parent
