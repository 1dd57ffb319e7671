"""The client: carry out a plan, on this machine or through a scheduler."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.fleet.address import Scheduler
from bench.fleet.local import run_locally
from bench.fleet.plan import FleetPlan
from bench.fleet.record import LOCK, FleetRecord
from bench.fleet.run import OnChange, Run
from export.common.errors import BadInput, CheckFailed, NotPossible
from export.common.files import require_writable


def run_fleet(plan: FleetPlan, scheduler: Scheduler | None, on_change: OnChange, *, again: bool = False) -> FleetRecord:
    """Carry out what is not finished; return the record, which is in the run's folder, too.

    Args:
        plan: what to do.
        scheduler: whose workers do it; None: this machine, without Dask.
        on_change: is called with the record after every change.
        again: whether finished jobs are done once more.

    Raises:
        BadInput: the folder has a run of another kind, is in use, or cannot be written.
        NotPossible: the scheduler does not answer, or is gone: what was done is kept.
    """
    require_writable(plan.folder)
    with _locked(plan.folder):
        run = Run(plan, scheduler.address if scheduler else None, on_change)
        if scheduler is None:
            run_locally(run, again=again)
        else:
            from bench.fleet.dask_client import connected
            from bench.fleet.dask_run import DaskRun

            with connected(scheduler) as client:
                DaskRun(client, run, wait_s=scheduler.wait_s, again=again).carry_out()
        return run.record()


def require_done(record: FleetRecord) -> None:
    """End with the exit code of the jobs that are missing.

    Raises:
        CheckFailed: a job failed on its device.
        NotPossible: no device could do a job.
    """
    for state, kind in (("failed", CheckFailed), ("lost", NotPossible)):
        jobs = [job for job in record.jobs if job.state == state]
        if jobs:
            seen = "; ".join(f"{job.spec.name}: {job.outcome.reason if job.outcome else ''}" for job in jobs)
            do = "mend what is named; `convnextpose fleet resume` does what is missing, and nothing else"
            raise kind(f"{len(jobs)} of {len(record.jobs)} jobs {state}", seen, do)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadInput(f"{folder} is in use", "another `fleet run` works there", "wait for it, or end it") from error
    try:
        yield
    finally:
        lock.release()
