"""Result folders of a run: each is written completely or not at all."""

from collections.abc import Mapping
from pathlib import Path

from bench.fleet.record import JOB, JobRecord, read_finished
from bench.fleet.spec import Outcome, ResultFile
from export.common.files import PARTIAL_PREFIX, write_text
from export.common.temporary import temporary_folder


def write_result(folder: Path, job: JobRecord, outcome: Outcome, files: Mapping[ResultFile, bytes]) -> None:
    """Write the result of a finished job in place of an earlier one.

    Raises:
        ValueError: a hash in the outcome is not that of its file.
        OSError, BadInput: the folder cannot be written.
    """
    place = folder / job.folder
    place.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(PARTIAL_PREFIX, place.parent) as temporary:
        new = temporary / "new"
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
        write_text(new / JOB, outcome.model_dump_json(indent=2) + "\n")
        if read_finished(new, job.spec.id) is None:
            raise ValueError("its result was damaged on the way: a hash does not match its file")
        earlier = temporary / "earlier"
        if place.exists():
            place.rename(earlier)
        try:
            new.rename(place)
        except OSError:
            if earlier.exists():
                earlier.rename(place)
            raise
