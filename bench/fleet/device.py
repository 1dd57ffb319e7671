"""The device's side of a fleet: its description, its files and its jobs.

One folder holds everything that a device keeps: files by their hash, exports linked from them, and results of jobs.
"""

import os
import platform
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any, get_args

from bench.fleet.blobs import BlobCache
from bench.fleet.child import RESULT, ChildFailed, run_child
from bench.fleet.record import JOB, read_finished
from bench.fleet.spec import Answer, DeviceFacts, JobSpec, Outcome, ResultFile, code_on_disk, code_version, sha256_json
from bench.machine.environment import environment_record, fingerprint
from export.common.files import sha256_file, write_text
from export.common.locks import hold_lock, is_locked

FOLDER_VARIABLE = "CONVNEXTPOSE_FLEET"
LOCK = ".lock"
OTHER_CODE = "it has another version of this project: install the same commit there, and restart its worker"
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class BadFile(Exception):
    """A job's file is missing or was changed; the text names it."""


def state_folder() -> Path:
    """Return the folder of everything that a device keeps; it may be deleted whenever no job runs."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder).absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache").absolute() / "convnextpose" / "fleet"


def missing_files(digests: Sequence[str]) -> list[str]:
    """Return the digests whose files this device lacks."""
    return BlobCache(state_folder() / "blobs").missing(digests)


def store_file(digest: str, content: bytes) -> bool:
    """Store a file on this device; return False if its hash is not ``digest``."""
    return BlobCache(state_folder() / "blobs").store(digest, content)


def send_files(
    spec: JobSpec,
    sources: BlobCache,
    missing: Callable[[Sequence[str]], list[str]],
    store: Callable[[str, bytes], bool],
) -> int:
    """Send a device the job's files that it lacks; return the number of bytes.

    Raises:
        BadFile: the client's file is missing or was changed, or it was damaged on the way.
    """
    names, sent = {digest: name for name, digest in spec.files.items()}, 0
    for digest in missing(sorted(names)):
        try:
            content = sources.path(digest).read_bytes()
        except OSError as error:
            raise BadFile(f"{names[digest]} cannot be read ({error}): convnextpose fleet run makes it") from error
        if not store(digest, content):
            raise BadFile(f"{names[digest]} was changed since the run was planned, or was damaged on the way")
        sent += len(content)
    return sent


def device_facts(jobs: Sequence[str]) -> DeviceFacts:
    """Describe this device, and list those of ``jobs`` that it holds."""
    own_fingerprint = fingerprint(environment_record())
    return DeviceFacts(
        machine=machine_id(),
        code=code_here(),
        fingerprint=own_fingerprint,
        holding=tuple(job for job in jobs if _holds(job_folder(job, own_fingerprint), job)),
    )


def run_job(spec: JobSpec, again: bool, on_progress: Callable[[str], None]) -> Answer:
    """Do a job, or find its result: that of the same specification, code, hardware and libraries."""
    own_fingerprint, start = fingerprint(environment_record()), monotonic()
    folder = job_folder(spec.id, own_fingerprint)
    result = folder / RESULT
    with hold_lock(folder / LOCK, lambda: on_progress("waiting: the same job runs already")):
        if not again and (finished := read_finished(result, spec.id)):
            return _answer(finished.model_copy(update={"found": True}), result)
        about: dict[str, Any] = {"job": spec.id, "fingerprint": own_fingerprint}
        try:
            about["engines"] = run_child(state_folder(), folder, spec, on_progress)
        except ChildFailed as failure:
            return Answer(outcome=Outcome(**about, state="failed", reason=str(failure), seconds=monotonic() - start))
        files = {name: sha256_file(result / name) for name in get_args(ResultFile) if (result / name).is_file()}
        outcome = Outcome(**about, state="done", files=files, seconds=monotonic() - start)
        write_text(result / JOB, outcome.model_dump_json(indent=2) + "\n")
        return _answer(outcome, result)


def job_folder(job: str, fingerprint_: str) -> Path:
    """Return the folder of a job's result: one for each specification and state of hardware and libraries."""
    return state_folder() / "jobs" / sha256_json([job, fingerprint_])


def code_here() -> str:
    """Return the version of this project's code here.

    A worker that was not restarted after an update has two versions, and so one that no client has.
    """
    loaded, on_disk = code_version(), code_on_disk()
    return loaded if loaded == on_disk else sha256_json([loaded, on_disk])


def machine_id() -> str:
    """Return a hash that distinguishes machines, and reveals nothing else about them."""
    texts = (path.read_text(encoding="ascii", errors="replace").strip() for path in MACHINE_IDS if path.is_file())
    return sha256(f"convnextpose {next(filter(None, texts), platform.node())}".encode()).hexdigest()[:16]


def _answer(outcome: Outcome, result: Path) -> Answer:
    return Answer(outcome=outcome, files={name: (result / name).read_bytes() for name in outcome.files})


def _holds(folder: Path, job: str) -> bool:
    """Return whether the job's result is there, or is being produced."""
    return folder.is_dir() and (read_finished(folder / RESULT, job) is not None or is_locked(folder / LOCK))
