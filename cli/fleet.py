"""``convnextpose fleet``: the same comparison on many machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson

if TYPE_CHECKING:
    from bench.fleet.address import Scheduler
    from bench.fleet.plan import FleetPlan

app = typer.Typer(
    help="The same export, build and benchmark matrix on many machines, through Dask.", no_args_is_help=True
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
Cert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Our certificate.")]
Key = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Our key.")]
Wait = Annotated[float, typer.Option(min=0, metavar="S", help="How long a job waits for a worker to connect.")]
Folder = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="A run's folder; by default the latest in build/fleet.")
]

REFRESH_S = 1.0


@app.command()
def run(
    matrix: Annotated[Path, typer.Argument(help="matrix.yaml; see docs/how-to/fleet.md.")],
    scheduler: Address = None,
    again: Annotated[bool, typer.Option("--again", help="Measure finished jobs once more.")] = False,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    wait: Wait = 60.0,
    as_json: AsJson = False,
) -> None:
    """Models × precisions × runtimes × devices: export what is missing, measure on every device, compare."""
    from bench.fleet.matrix import read_matrix
    from bench.fleet.plan import plan_fleet
    from cli.console import ConsoleObserver
    from export.common.files import require_writable

    through = _scheduler(scheduler, insecure, (tls_ca, tls_cert, tls_key), wait)
    wanted = read_matrix(matrix)
    require_writable(wanted.out)
    observer = ConsoleObserver()
    try:
        plan = plan_fleet(wanted, observer)
    finally:
        observer.stop()
    _carry_out(plan, through, again=again, as_json=as_json)


@app.command()
def resume(
    folder: Folder = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="By default the one that it had.")] = None,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    wait: Wait = 60.0,
    as_json: AsJson = False,
) -> None:
    """Continue a run: what is finished, here or on a device, is picked up, and the rest is measured."""
    from bench.fleet.plan import planned_before
    from bench.fleet.record import read_fleet

    place = _run_folder(folder)
    record = read_fleet(place)
    through = _scheduler(scheduler or record.scheduler, insecure, (tls_ca, tls_cert, tls_key), wait)
    _carry_out(planned_before(place, record), through, again=False, as_json=as_json)


@app.command()
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Devices, running jobs, done, failed, estimated end; on a terminal for as long as the run goes on."""
    import sys
    import time

    from bench.fleet.record import going_on, read_fleet
    from cli.render import fleet as render_fleet

    place = _run_folder(folder)
    record = read_fleet(place)
    if as_json:
        print(record.model_dump_json(indent=2))
        return
    if sys.stdout.isatty() and going_on(place):
        with render_fleet.live(record) as show:
            while going_on(place):
                time.sleep(REFRESH_S)
                show(read_fleet(place))
    render_fleet.status(read_fleet(place), going_on=going_on(place))


@app.command()
def devices(
    scheduler: Address = None,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What each worker is, and what its doctor says; without a scheduler what this machine would say."""
    import json

    from cli.render import fleet as render_fleet
    from export.common.errors import NotPossible

    through = _scheduler(scheduler, insecure, (tls_ca, tls_cert, tls_key), 0)
    if through is None:
        from bench.fleet.local import this_machine

        found, silent = [this_machine()], list[str]()
    else:
        from bench.fleet.dask_workers import survey

        found, silent = survey(through)
    if as_json:
        print(json.dumps([facts.model_dump(mode="json") for facts in found], indent=2))
    else:
        render_fleet.devices(found)
    if silent:
        do = "see that the machine runs, and that the same commit is installed there (docs/how-to/fleet.md)"
        raise NotPossible(f"{len(silent)} workers do not answer as ours do", "; ".join(silent), do)


def _scheduler(
    address: str | None, insecure: bool, certificates: tuple[Path | None, Path | None, Path | None], wait_s: float
) -> "Scheduler | None":
    """Return the scheduler, if there is one.

    Raises:
        BadInput: it must not be used, or a certificate is missing.
    """
    from bench.fleet.address import Certificates, Scheduler, require_safe

    files = Certificates(*certificates)
    return None if address is None else Scheduler(require_safe(address, insecure=insecure), files, wait_s)


def _carry_out(plan: "FleetPlan", scheduler: "Scheduler | None", *, again: bool, as_json: bool) -> None:
    """Run it, show progress, and compare the devices."""
    from bench.fleet.client import require_done, run_fleet
    from bench.fleet.record import measured
    from cli.render import fleet as render_fleet

    with render_fleet.live(None) as show:
        record = run_fleet(plan, scheduler, show, again=again)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        render_fleet.side_by_side(record, measured(plan.folder, record), plan.folder)
    require_done(record)


def _run_folder(folder: Path | None) -> Path:
    """Return the folder that is named, or that of the latest run.

    Raises:
        BadInput: there is none.
    """
    from bench.fleet.record import FLEET
    from export.common.errors import BadInput

    if folder is not None:
        return folder
    runs = sorted(Path("build/fleet").glob(f"*/{FLEET}"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise BadInput("there is no run in build/fleet", "nothing there", "name a run's folder: OUT/fleet/RUN")
    return runs[-1].parent
