"""Result folders of a run: each is written completely or not at all, and archived instead of replaced."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from bench.fleet.record import EARLIER, JOB, FleetRecord, JobRecord, read_finished
from bench.fleet.spec import JobSpec, Outcome, ResultFile
from export.common.files import PARTIAL_PREFIX, write_text
from export.common.temporary import temporary_folder

DAMAGED = "damaged"
"""Name in ``earlier`` of a folder that was in a result's place and is not a valid result."""


def earlier_results(folder: Path, before: FleetRecord, specs: Sequence[JobSpec]) -> list[JobRecord]:
    """Return the results in ``folder`` of other jobs than ``specs``; archive those in the place of one of them."""
    places = {spec.name: spec.id for spec in specs}
    earlier = []
    for job in (*before.earlier, *before.jobs):
        outcome = read_finished(folder / job.folder, job.spec.id)
        if outcome is None or places.get(job.folder) == job.spec.id:
            continue
        finished = job.model_copy(update={"state": "done", "outcome": outcome, "progress": ""})
        earlier.append(_archive(folder, finished) if job.folder in places else finished)
    return earlier


def write_result(folder: Path, job: JobRecord, outcome: Outcome, files: Mapping[ResultFile, bytes]) -> list[JobRecord]:
    """Write the result of a finished job.

    Returns:
        The job with the folder of its archived earlier result, if it had a different one.

    Raises:
        ValueError: a hash in the outcome is not that of its file.
        OSError, BadInput: the folder cannot be written.
    """
    place, earlier = folder / job.folder, list[JobRecord]()
    place.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(PARTIAL_PREFIX, place.parent) as temporary:
        new = temporary / "new"
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        write_text(new / JOB, outcome.model_dump_json(indent=2) + "\n")
        if read_finished(new, job.spec.id) is None:
            raise ValueError("its result was damaged on the way: a hash does not match its file")
        before = read_finished(place, job.spec.id)
        if before is not None and before.files == outcome.files:
            shutil.move(place, temporary / "same")
        elif before is not None:
            earlier.append(_archive(folder, job.model_copy(update={"state": "done", "outcome": before})))
        elif place.exists():
            _move(folder, job.folder, DAMAGED)
        new.replace(place)
    return earlier


def _archive(folder: Path, job: JobRecord) -> JobRecord:
    return job.model_copy(update={"folder": _move(folder, job.folder, job.spec.id[:16])})


def _move(folder: Path, place: str, name: str) -> str:
    """Move a folder of the run to ``earlier``; return its new place."""
    targets = (f"{EARLIER}/{name}-{number}/{place}" for number in count(1))
    target = next(target for target in targets if not (folder / target).exists())
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder / place, folder / target)  # also where a mount or an image's layer forbids to rename it
    return target
