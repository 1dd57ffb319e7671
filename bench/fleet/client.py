"""The client: do the unfinished jobs of a plan, on this machine or through a scheduler."""

from functools import partial

from filelock import FileLock, Timeout

from bench.fleet import device
from bench.fleet.address import Scheduler
from bench.fleet.plan import FleetPlan
from bench.fleet.record import LOCK, DeviceRecord, FleetRecord
from bench.fleet.run import OnChange, Run
from bench.fleet.spec import Answer
from export.common.errors import BadInput, CheckFailed, NotPossible
from export.common.files import require_writable

LOCAL = "here"
"""Name of this machine in the record of a local run."""


def run_fleet(plan: FleetPlan, scheduler: Scheduler | None, on_change: OnChange, *, again: bool = False) -> FleetRecord:
    """Do the unfinished jobs, on this machine without a scheduler; return the record of the run's folder.

    Raises:
        BadInput: the folder has a run of another kind, is in use, or cannot be written.
        NotPossible: the scheduler does not answer, or is lost; finished jobs are kept.
    """
    require_writable(plan.folder)
    lock = FileLock(plan.folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadInput(f"{plan.folder} is in use", "another `fleet run` works there", "wait until it ends") from error
    try:
        run = Run(plan, scheduler.address if scheduler else None, on_change)
        if scheduler is None:
            run_locally(run, again=again)
        else:
            from bench.fleet.cluster import connected
            from bench.fleet.cluster_run import ClusterRun

            with connected(scheduler) as client:
                ClusterRun(client, run, wait_s=scheduler.wait_s, again=again).run_all()
        return run.record
    finally:
        lock.release()


def run_locally(run: Run, *, again: bool) -> None:
    """Do the jobs one after the other; this machine counts as every kind of device."""
    kinds = list(dict.fromkeys(spec.device for spec in run.plan.specs))
    about = device.device_facts([]).model_dump(include={"machine", "fingerprint"})
    run.set_devices([DeviceRecord(worker=LOCAL, kinds=kinds, state="ready", **about)])
    run.reopen(again=again)
    for job in run.unfinished():
        on_progress = partial(run.set_state, job, "running", LOCAL)
        on_progress("")
        try:
            sent = device.send_files(job.spec, run.plan.sources, device.missing_files, device.store_file)
            answer = device.run_job(job.spec, again, on_progress)
        except device.BadFile as failure:
            sent, answer = 0, Answer.failed(job.spec, str(failure))
        run.finish(job, answer, worker=LOCAL, bytes_sent=sent)


def require_done(record: FleetRecord) -> None:
    """Check that every job is done.

    Raises:
        CheckFailed: a job failed on its device.
        NotPossible: no device could do a job.
    """
    for state, kind in (("failed", CheckFailed), ("lost", NotPossible)):
        jobs = [job for job in record.jobs if job.state == state]
        if jobs:
            value = "; ".join(f"{job.spec.name}: {job.outcome.reason if job.outcome else ''}" for job in jobs)
            advice = "remove the causes; then `convnextpose fleet run` does the missing jobs"
            raise kind(f"{len(jobs)} of {len(record.jobs)} jobs {state}", value, advice)
