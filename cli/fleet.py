"""``convnextpose fleet``: the same comparison on many machines."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, Command, Group, Verbose

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
Wait = Annotated[float, typer.Option(metavar="S", help="How long a job waits for a worker to connect.")]
Folder = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="A run's folder; by default the latest in build/fleet.")
]


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
    """Run models × precisions × runtimes × devices: export what is missing, do the jobs that are not done, compare."""
    from bench.fleet.address import Scheduler, require_safe
    from bench.fleet.client import require_done, run_fleet
    from bench.fleet.matrix import read_matrix
    from bench.fleet.plan import plan_fleet
    from cli.console import ConsoleObserver
    from cli.render import fleet as render
    from export.common.files import require_writable
    from export.pipeline.options import require_range

    require_range("--wait", wait, 0)
    through = None
    if scheduler is not None:
        through = Scheduler(require_safe(scheduler, insecure=insecure), tls_ca, tls_cert, tls_key, wait)
    content = read_matrix(matrix)
    require_writable(content.out)
    with ConsoleObserver() as observer:
        plan = plan_fleet(content, observer)
    record = run_fleet(plan, through, render.Log().show, again=again)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        if verbose:
            render.notes(record)
        render.print_result(record, plan.folder, matrix)
    require_done(record)


@app.command(cls=Command)
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Show devices, and the jobs that are running, done and failed."""
    from bench.fleet.record import FLEET, LOCK, read_fleet
    from cli.render import fleet as render
    from export.common.errors import BadInput
    from export.common.locks import is_locked

    runs = sorted(Path("build/fleet").glob(f"*/{FLEET}"), key=lambda path: path.stat().st_mtime)
    if folder is None and not runs:
        raise BadInput("there is no run in build/fleet", "no fleet.json in it", "name a run's folder: OUT/fleet/RUN")
    place = folder or runs[-1].parent
    record = read_fleet(place)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        render.status(record, going_on=is_locked(place / LOCK))
