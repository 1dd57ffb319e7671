"""Results in a run's folder: found again, and put aside where another takes their place. None is removed."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from bench.fleet.record import EARLIER, FLEET, JobRecord, read_finished, read_fleet
from bench.fleet.spec import JobSpec, Outcome
from export.artifacts import unwritable


def put_aside(folder: Path, specs: Sequence[JobSpec]) -> list[JobRecord]:
    """The results in ``folder`` that are none of ``specs``, which are about to be carried out there, or no longer are.

    Those whose folders ``specs`` will fill are moved out of the way; one that is among them again is moved back.

    Raises:
        BadInput: the record there is of another schema version, or the folder cannot be written.
    """
    if not (folder / FLEET).is_file():
        return []
    before = read_fleet(folder)
    mine, taken = {spec.id: spec for spec in specs}, {place_of(spec) for spec in specs}
    others = list[JobRecord]()
    for job in (*before.earlier, *before.jobs):
        found = _found(folder, job)
        if found is None or (job.spec.id in mine and found in (place_of(job.spec), aside(job.spec))):
            continue
        if found in taken:
            _move(folder / found, folder / aside(job.spec))
            found = aside(job.spec)
        others.append(job.model_copy(update={"state": "done", "folder": found}))
    for spec in mine.values():
        if read_finished(folder / aside(spec), spec.id) is not None and not (folder / place_of(spec)).exists():
            _move(folder / aside(spec), folder / place_of(spec))
    return list({job.folder: job for job in others}.values())


def make_room(folder: Path, spec: JobSpec, coming: Outcome) -> JobRecord | None:
    """Put aside what the job had measured before, if that is there and what is ``coming`` is something else.

    Raises:
        BadInput: the folder cannot be written.
    """
    before = read_finished(folder / place_of(spec), spec.id)
    if before is None or before.files == coming.files:
        return None
    places = (f"{EARLIER}/{spec.id[:16]}-{number}/{place_of(spec)}" for number in count(1))
    kept = next(place for place in places if not (folder / place).exists())
    _move(folder / place_of(spec), folder / kept)
    return JobRecord(spec=spec, folder=kept, state="done", outcome=before, worker=before.worker)


def found_here(folder: Path, spec: JobSpec) -> Outcome | None:
    """What became of a job that an earlier run has done."""
    return read_finished(folder / place_of(spec), spec.id)


def place_of(spec: JobSpec) -> str:
    """Where its result lies within the run's folder."""
    return f"{spec.place}/{spec.model}"


def aside(spec: JobSpec) -> str:
    """Where it lies when another job has its place."""
    return f"{EARLIER}/{spec.id[:16]}/{place_of(spec)}"


def _found(folder: Path, job: JobRecord) -> str | None:
    """Where its result lies whole: moved already by a run that was ended then, perhaps."""
    places = (job.folder, aside(job.spec))
    return next((place for place in places if read_finished(folder / place, job.spec.id) is not None), None)


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
