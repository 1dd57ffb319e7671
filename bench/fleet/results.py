"""Result folders of a run: written whole, and archived instead of replaced."""

import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from bench.fleet.record import BENCH, EARLIER, JOB, FleetRecord, JobRecord, read_finished
from bench.fleet.spec import Answer, JobSpec
from bench.results.result import RESULT, read_result, require_of_export
from export.common.errors import BadInput
from export.common.files import PARTIAL_PREFIX, write_text
from export.pipeline.manifest import read_manifest

DAMAGED = "damaged"
"""In ``earlier``: what was in a result's place and is none, or is not whole."""


class BadResult(Exception):
    """An incomplete or damaged result; the text has the reason."""


def earlier_results(folder: Path, before: FleetRecord, specs: Sequence[JobSpec]) -> list[JobRecord]:
    """Return the results in ``folder`` that are not of ``specs``; those in the place of one of them are archived."""
    places = {spec.name: spec.id for spec in specs}
    earlier = []
    for job in (*before.earlier, *before.jobs):
        outcome = read_finished(folder / job.folder, job.spec.id)
        if outcome is None or places.get(job.folder) == job.spec.id:
            continue
        kept = job.model_copy(update={"state": "done", "outcome": outcome, "progress": ""})
        earlier.append(archive(folder, kept) if job.folder in places else kept)
    return earlier


def archive(folder: Path, job: JobRecord) -> JobRecord:
    """Move a job's result aside; return the job with its new folder."""
    return job.model_copy(update={"folder": _move(folder, job.folder, job.spec.id[:16])})


def write_result(folder: Path, job: JobRecord, answer: Answer) -> JobRecord | None:
    """Write the result of a job that is done; the folder appears whole.

    Returns:
        The job with the folder of its archived earlier result, if it had another one.

    Raises:
        BadResult: a file is damaged, or is no manifest or no result.
        OSError, BadInput: the folder cannot be written.
    """
    place, outcome = folder / job.folder, answer.outcome
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=place.parent) as temporary:
        new = Path(temporary) / "new"
        for name, content in answer.files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        write_text(new / JOB, outcome.model_dump_json(indent=2) + "\n")
        _require_whole(new, job.spec)
        before, kept = read_finished(place, job.spec.id), None
        if before is not None and before.files != outcome.files:
            kept = archive(folder, job.model_copy(update={"state": "done", "outcome": before, "progress": ""}))
        elif before is not None:
            place.replace(Path(temporary) / "same")
        elif place.exists():
            _move(folder, job.folder, DAMAGED)
        new.replace(place)
    return kept


def _require_whole(new: Path, spec: JobSpec) -> None:
    if read_finished(new, spec.id) is None:
        raise BadResult("its result came back damaged: a hash is not that of the file")
    try:
        manifest, path = read_manifest(new / "manifest.json"), new / BENCH / RESULT
        result = read_result(path)
        require_of_export(result, manifest, path)
    except BadInput as failure:
        raise BadResult(f"its result cannot be read: {failure.detail}") from failure
    if not result.complete:
        raise BadResult("its result is not complete")


def _move(folder: Path, place: str, name: str) -> str:
    targets = (f"{EARLIER}/{name}-{number}/{place}" for number in count(1))
    target = next(target for target in targets if not (folder / target).exists())
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).replace(folder / target)
    return target
