"""Results in a run's folder: found again, and put aside where another takes their place. None is removed."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from bench.fleet.record import EARLIER, FLEET, JobRecord, read_finished, read_fleet
from bench.fleet.spec import JobSpec, Outcome
from export.artifacts import unwritable

DAMAGED = "damaged"
"""In ``earlier``: what lay in a result's place and is none, or not whole."""


def put_aside(folder: Path, specs: Sequence[JobSpec]) -> list[JobRecord]:
    """Make room in ``folder`` for ``specs``, which are about to be carried out there; returns all results but theirs.

    What lies where ``specs`` will be filled in is moved out of the way; a result of one of them that was moved so
    before is moved back.

    Raises:
        BadInput: the record there is of another schema version, or the folder cannot be written.
    """
    if not (folder / FLEET).is_file():
        return []
    before = read_fleet(folder)
    known = {job.spec.id: job for job in (*before.earlier, *before.jobs)}
    for spec in specs:
        place = place_of(spec)
        if found_here(folder, spec) is not None:
            continue
        if (folder / place).exists():
            lies = [job for job in known if read_finished(folder / place, job) is not None]
            _shelve(folder, place, lies[0][:16] if lies else DAMAGED)
        if read_finished(folder / aside(spec), spec.id) is not None:
            _move(folder / aside(spec), folder / place)
    theirs = {place_of(spec): spec.id for spec in specs}
    return [
        _kept(job.spec, place, outcome)
        for job in known.values()
        for place, outcome in _results(folder, job)
        if theirs.get(place) != job.spec.id
    ]


def make_room(folder: Path, spec: JobSpec, coming: Outcome) -> JobRecord | None:
    """Put aside what the job had measured before, if that is there and what is ``coming`` is something else.

    Raises:
        BadInput: the folder cannot be written.
    """
    before = read_finished(folder / place_of(spec), spec.id)
    if before is None or before.files == coming.files:
        return None
    kept = _numbered(folder, place_of(spec), spec.id[:16])
    _move(folder / place_of(spec), folder / kept)
    return _kept(spec, kept, before)


def found_here(folder: Path, spec: JobSpec) -> Outcome | None:
    """What became of a job that an earlier run has done."""
    return read_finished(folder / place_of(spec), spec.id)


def place_of(spec: JobSpec) -> str:
    """Where its result lies within the run's folder."""
    return f"{spec.place}/{spec.model}"


def aside(spec: JobSpec) -> str:
    """Where it lies when another job has its place."""
    return f"{EARLIER}/{spec.id[:16]}/{place_of(spec)}"


def _kept(spec: JobSpec, place: str, outcome: Outcome) -> JobRecord:
    return JobRecord(spec=spec, folder=place, state="done", outcome=outcome, worker=outcome.worker)


def _results(folder: Path, job: JobRecord) -> Iterator[tuple[str, Outcome]]:
    """All that it has measured, and where: listed or not, for a run that was ended may just have moved it."""
    place, name = place_of(job.spec), job.spec.id[:16]
    moved = [f"{EARLIER}/{of.name}/{place}" for of in (folder / EARLIER).glob(f"{name}-*")]
    for where in dict.fromkeys((job.folder, place, aside(job.spec), *sorted(moved, key=lambda of: (len(of), of)))):
        if (outcome := read_finished(folder / where, job.spec.id)) is not None:
            yield where, outcome


def _shelve(folder: Path, place: str, name: str) -> None:
    """Put it into ``earlier/<name>``, as the newest of that name."""
    target = f"{EARLIER}/{name}/{place}"
    if (folder / target).exists():
        _move(folder / target, folder / _numbered(folder, place, name))
    _move(folder / place, folder / target)


def _numbered(folder: Path, place: str, name: str) -> str:
    """The first place for one more of that name."""
    places = (f"{EARLIER}/{name}-{number}/{place}" for number in count(1))
    return next(of for of in places if not (folder / of).exists())


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
