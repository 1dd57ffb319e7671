"""A matrix carried out: what was finished stays, the rest is given to an executor, results come to their place."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.fleet.delivery import failed, place_of
from bench.fleet.executor import Executor, OnWork
from bench.fleet.ledger import Ledger, OnChange
from bench.fleet.plan import FleetPlan
from bench.fleet.record import FLEET, LOCK, FleetRecord, read_fleet
from bench.fleet.spec import JobResult, JobSpec
from export.artifacts import require_writable
from export.errors import BadInput, CheckFailed, Failure, NotPossible

OpenExecutor = Callable[[OnWork], Executor]
"""Opens it; it is told whom to tell what devices do."""


def run_fleet(
    plan: FleetPlan,
    open_executor: OpenExecutor,
    on_change: OnChange,
    *,
    scheduler: str | None = None,
    again: bool = False,
) -> FleetRecord:
    """Carry out what is not finished; returns the record, which lies in the run's folder, too.

    Args:
        plan: what to do.
        open_executor: who does it.
        on_change: is given the record whenever something has changed.
        scheduler: its address, for the record.
        again: whether finished jobs are done once more.

    Raises:
        BadInput: the folder belongs to a run of another kind, is in use, or cannot be written, also in the middle:
            what was done by then is kept.
        NotPossible: the executor cannot be opened.
    """
    require_writable(plan.folder)
    with _alone(plan.folder):
        ledger = Ledger(plan, scheduler, _created(plan, scheduler), on_change)
        with closing(open_executor(ledger.begun)) as executor:
            ledger.seen(executor.devices)
            _reopen(ledger, executor, again=again)
            for job in ledger.finished():
                executor.reserve(job.spec, job.worker)
            for spec, result in _results(executor, ledger.unfinished()):
                ledger.ended(spec, result)
        return ledger.record()


def require_done(record: FleetRecord) -> None:
    """End with the exit code of what is missing.

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


def _results(executor: Executor, specs: list[JobSpec]) -> Iterator[tuple[JobSpec, JobResult]]:
    if executor.at_once == 1:  # in this thread, which Ctrl-C reaches
        for spec in specs:
            yield spec, _ended(executor, spec)
        return
    with ThreadPoolExecutor(min(executor.at_once, max(1, len(specs)))) as pool:
        asked = {pool.submit(_ended, executor, spec): spec for spec in specs}
        try:
            for future in as_completed(asked):
                yield asked[future], future.result()
        except BaseException:
            executor.close()  # or the pool would wait for every device
            raise


def _ended(executor: Executor, spec: JobSpec) -> JobResult:
    """One job's end. What nobody has foreseen ends this one and not the run; a ``Failure`` is of this machine."""
    try:
        return executor.run(spec)
    except Failure:
        raise
    except Exception as fault:
        return JobResult(failed(spec, f"a fault of this program: {place_of(fault)}"), {}, ours=True)


def _reopen(ledger: Ledger, executor: Executor, *, again: bool) -> None:
    """Finished jobs are done once more if that is asked for, or if their device is no longer what it was."""
    prints = {device.worker: device.fingerprint for device in executor.devices() if device.fingerprint}
    for job in ledger.finished():
        assert job.outcome is not None
        if again:
            ledger.reopen(job.spec.id, "once more, as asked")
        elif prints.get(job.worker, job.outcome.fingerprint) != job.outcome.fingerprint:
            ledger.reopen(job.spec.id, f"once more: the hardware, driver or libraries of {job.worker} have changed")


def _created(plan: FleetPlan, scheduler: str | None) -> str | None:
    """When the run in this folder was begun, if there is one.

    Raises:
        BadInput: it was carried out elsewhere.
    """
    if not (plan.folder / FLEET).is_file():
        return None
    before = read_fleet(plan.folder)
    if (before.scheduler is None) != (scheduler is None):
        seen = f"{plan.folder} was made {'on this machine' if before.scheduler is None else 'through a scheduler'}"
        do = "give the matrix another `name` or `out`, or say --scheduler as before"
        raise BadInput("a run is either local or a scheduler's", seen, do)
    return before.created


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadInput(f"{folder} is in use", "another `fleet run` works there", "wait for it, or end it") from error
    try:
        yield
    finally:
        lock.release()
