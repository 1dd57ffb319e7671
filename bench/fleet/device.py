"""The device's side of a fleet: facts, files and jobs. Everything that it keeps is in one folder.

The folder holds files by their content, exports that were put together from them, and jobs with their results.
"""

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import get_args

from bench.fleet.blobs import BlobCache
from bench.fleet.child import MADE, ChildFailed, run_child
from bench.fleet.record import JOB, read_finished
from bench.fleet.spec import Answer, DeviceFacts, JobSpec, Outcome, ResultFile, code_on_disk, code_version, sha256_json
from bench.machine.doctor import report
from bench.machine.environment import environment_record, fingerprint
from bench.machine.facts import collect_facts
from bench.machine.locks import hold_lock, is_locked
from export.common.files import sha256_file, write_text

FOLDER_VARIABLE = "CONVNEXTPOSE_FLEET"
LOCK = ".lock"
OTHER_CODE = "it has another version of this project: install the same commit there, and restart its worker"
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))

Fetch = Callable[[str], bytes]
"""Digest → content."""


class BadFile(Exception):
    """A file of a job is missing or another one; the text says which."""


def state_folder() -> Path:
    """Return where a device keeps its files; it may be deleted whenever no job runs."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache").absolute() / "convnextpose" / "fleet"


def blobs() -> BlobCache:
    """Return the device's files."""
    return BlobCache(state_folder() / "blobs")


def device_facts(jobs: list[str]) -> DeviceFacts:
    """Describe this device, and say which of ``jobs`` it holds; the caller knows the worker's name and resources."""
    record = environment_record()
    mine = fingerprint(record)
    return DeviceFacts(
        worker="",
        machine=machine_id(),
        resources={},
        code=code_here(),
        environment=record,
        fingerprint=mine,
        doctor=report(collect_facts(state_folder())),
        holding=tuple(job for job in jobs if _holds(job_folder(job, mine), job)),
    )


def run_job(spec: JobSpec, again: bool, fetch: Fetch, on_progress: Callable[[str], None]) -> Answer:
    """Carry out ``spec``; a result of the same specification, code, hardware and libraries is found, not repeated.

    Args:
        spec: the job.
        again: whether a result that is found is measured once more.
        fetch: returns the content of a file that is not here, by its digest.
        on_progress: is told what the job does.
    """
    mine, began = fingerprint(environment_record()), monotonic()
    base = Outcome(
        job=spec.id,
        state="failed",
        machine=machine_id(),
        code=code_here(),
        fingerprint=mine,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if spec.code != base.code:
        return Answer(outcome=base.model_copy(update={"reason": OTHER_CODE}))
    folder = job_folder(spec.id, mine)
    result = folder / MADE
    with hold_lock(folder / LOCK, lambda: on_progress("waiting: the same job runs already")):
        if not again and (found := read_finished(result, spec.id)):
            return _answer(found.model_copy(update={"found": True, "bytes_sent": 0}), result)
        try:
            received = _receive(spec, fetch, on_progress)
            engines = run_child(state_folder(), folder, spec, on_progress)
        except (ChildFailed, BadFile) as failure:
            return Answer(outcome=base.model_copy(update={"reason": str(failure), "seconds": monotonic() - began}))
        files = {name: sha256_file(result / name) for name in get_args(ResultFile) if (result / name).is_file()}
        changes = {"state": "done", "engines": engines, "files": files, "bytes_sent": received}
        outcome = base.model_copy(update={**changes, "seconds": monotonic() - began})
        write_text(result / JOB, outcome.model_dump_json(indent=2) + "\n")
        return _answer(outcome, result)


def _receive(spec: JobSpec, fetch: Fetch, on_progress: Callable[[str], None]) -> int:
    """Fetch the job's files that are not here, or are damaged here; return how many bytes that were.

    Raises:
        BadFile: a file is not there, or another one.
    """
    names, received = {digest: name for name, digest in spec.files.items()}, 0
    for digest in blobs().lacking(sorted(names)):
        on_progress(f"receiving {names[digest]}")
        try:
            content = fetch(digest)
        except (OSError, KeyError) as error:
            raise BadFile(
                f"{names[digest]} cannot be had any more ({error}): convnextpose fleet run makes it"
            ) from error
        if not blobs().store(digest, content):
            raise BadFile(f"{names[digest]} was changed since the run was planned, or arrived damaged")
        received += len(content)
    return received


def job_folder(job: str, fingerprint_: str) -> Path:
    """Return where a job's result is: it belongs to its specification and to the hardware and libraries as they are."""
    return state_folder() / "jobs" / sha256_json([job, fingerprint_])


def code_here() -> str:
    """Return the version of this project's code here.

    A worker that was not restarted after an update has two versions, and so one that no client has.
    """
    loaded, on_disk = code_version(), code_on_disk()
    return loaded if loaded == on_disk else sha256_json([loaded, on_disk])


def machine_id() -> str:
    """Return a hash that tells machines apart, and nothing else about them."""
    for path in MACHINE_IDS:
        if path.is_file() and (text := path.read_text(encoding="ascii", errors="replace").strip()):
            return sha256(f"convnextpose {text}".encode()).hexdigest()[:16]
    return sha256(f"convnextpose {platform.node()}".encode()).hexdigest()[:16]


def _answer(outcome: Outcome, result: Path) -> Answer:
    return Answer(outcome=outcome, files={name: (result / name).read_bytes() for name in outcome.files})


def _holds(folder: Path, job: str) -> bool:
    """Return whether the job's result is there, or is being made."""
    return folder.is_dir() and (read_finished(folder / MADE, job) is not None or is_locked(folder / LOCK))
