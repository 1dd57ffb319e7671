"""``convnextpose fleet``: the same comparison on many machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson

if TYPE_CHECKING:
    from bench.fleet.address import Certificates
    from bench.fleet.plan import FleetPlan

app = typer.Typer(
    help="The same export, build and benchmark matrix on many machines, through Dask.", no_args_is_help=True
)

Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Of a Dask scheduler, as tls://lab:8786; without it this machine does all."),
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow a plain connection to another machine.")]
Ca = Annotated[Path | None, typer.Option("--tls-ca", metavar="FILE", help="By default Dask's configuration says.")]
Cert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Ours, signed by that authority.")]
Key = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Ours.")]
Wait = Annotated[float, typer.Option(min=0, metavar="S", help="How long a job waits for a device to turn up.")]
Folder = Annotated[
    Path | None, typer.Argument(metavar="[RUN]", help="A run's folder; by default the latest in build/fleet.")
]

REFRESH_S = 1.0


@app.command()
def run(
    matrix: Annotated[Path, typer.Argument(help="matrix.yaml; see docs/fleet.md.")],
    scheduler: Scheduler = None,
    again: Annotated[bool, typer.Option("--again", help="Measure finished jobs once more.")] = False,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    wait: Wait = 60.0,
    as_json: AsJson = False,
) -> None:
    """Models × precisions × runtimes × devices: export what is missing, measure on every device, compare."""
    from bench.fleet.address import Certificates, checked
    from bench.fleet.matrix import read_matrix
    from bench.fleet.plan import plan_fleet
    from cli.console import ConsoleNarrator
    from export.artifacts import require_writable

    certificates, address = Certificates(tls_ca, tls_cert, tls_key), checked(scheduler, insecure=insecure)
    wanted = read_matrix(matrix)
    require_writable(wanted.out)
    narrator = ConsoleNarrator()
    try:
        plan = plan_fleet(wanted, narrator)
    finally:
        narrator.stop()
    _carry_out(plan, address, certificates, again=again, wait_s=wait, as_json=as_json)


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
    """Go on with a run: what is finished, here or on a device, is picked up, and the rest is measured."""
    from bench.fleet.address import Certificates, checked
    from bench.fleet.plan import planned_before
    from bench.fleet.record import read_fleet

    certificates = Certificates(tls_ca, tls_cert, tls_key)
    place = _run_folder(folder)
    record = read_fleet(place)
    address = checked(scheduler or record.scheduler, insecure=insecure)
    _carry_out(planned_before(place, record), address, certificates, again=False, wait_s=wait, as_json=as_json)


@app.command()
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Devices, running jobs, done, failed, estimated end; on a terminal for as long as the run goes on."""
    import sys
    import time

    from bench.fleet.record import going_on, read_fleet
    from cli import render_fleet

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
    scheduler: Scheduler = None,
    insecure: Insecure = False,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What each worker is, and what its doctor says; without a scheduler what this machine would say."""
    import json

    from bench.fleet.address import Certificates, checked
    from bench.fleet.survey import connected, this_machine
    from cli import render_fleet
    from export.errors import NotPossible

    certificates = Certificates(tls_ca, tls_cert, tls_key)
    address = checked(scheduler, insecure=insecure)
    if address is None:
        found, silent = [this_machine()], []
    else:
        there = connected(address, certificates)
        found, silent = list(there[0]), list(there[1])
    if as_json:
        print(json.dumps([facts.model_dump(mode="json") for facts in found], indent=2))
    else:
        render_fleet.devices(found)
    if silent:
        do = "see that the machine runs, and that the same commit of this project is installed there (docs/fleet.md)"
        raise NotPossible(f"{len(silent)} workers do not answer as ours do", "; ".join(silent), do)


def _carry_out(
    plan: "FleetPlan", address: str | None, certificates: "Certificates", *, again: bool, wait_s: float, as_json: bool
) -> None:
    """Run it, show it while it goes on, and compare the devices."""
    from functools import partial

    from bench.fleet.executor import Executor, LocalExecutor, OnWork
    from bench.fleet.record import measured
    from bench.fleet.run import require_done, run_fleet
    from cli import render_fleet

    def open_executor(on_work: OnWork) -> Executor:
        if address is None:
            return LocalExecutor(plan.specs, plan.sources, on_work, again=again)
        from bench.fleet.dask_executor import DaskExecutor

        options = {"again": again, "wait_s": wait_s}
        return DaskExecutor(address, certificates, plan.specs, plan.sources, on_work, **options)  # type: ignore[arg-type]

    go = partial(run_fleet, plan, open_executor, scheduler=address, again=again)
    with render_fleet.live(None) as show:
        record = go(show)
    if as_json:
        print(record.model_dump_json(indent=2))
    else:
        render_fleet.side_by_side(record, measured(plan.folder, record), plan.folder)
    require_done(record)


def _run_folder(folder: Path | None) -> Path:
    """The one that is named, or the one that was written last.

    Raises:
        BadInput: there is none.
    """
    from bench.fleet.record import FLEET
    from export.errors import BadInput

    if folder is not None:
        return folder
    runs = sorted(Path("build/fleet").glob(f"*/{FLEET}"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise BadInput("there is no run in build/fleet", "nothing there", "name a run's folder: OUT/fleet/RUN")
    return runs[-1].parent
