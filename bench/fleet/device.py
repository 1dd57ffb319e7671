"""What a device answers to. Arguments and answers are plain text and bytes, so that two machines need to agree on this
project's code and on nothing else: not on the version of Python, nor on that of a library.

Everything that a device keeps lies in one folder: files by their content, exports that were put together from them,
jobs with their results, and the locks of what is measured on.
"""

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from bench.doctor import report
from bench.environment import environment_record, fingerprint
from bench.facts import facts
from bench.fleet.blobs import BlobCache
from bench.fleet.child import ChildFailed, carry_out
from bench.fleet.spec import DeviceFacts, JobSpec, Outcome, code_on_disk, code_version, sha256_json
from bench.locks import held, in_use
from export.artifacts import write_text

FOLDER_VARIABLE = "CONVNEXTPOSE_FLEET"
OUTCOME, LOCK = "outcome.json", ".lock"
OTHER_CODE = "this device has another version of this project: install the same commit there, and restart its worker"
MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))

Told = Callable[[str], None]
"""Is told what a job is doing."""


def unheard(text: str) -> None:
    """A listener that says nothing."""


def state_folder() -> Path:
    """Where a device keeps what it needs; it may be deleted whenever no job runs."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache").absolute() / "convnextpose" / "fleet"


def hello(jobs: list[str]) -> str:
    """What this device is, as JSON of ``DeviceFacts`` without the worker's name; which of ``jobs`` it holds."""
    record = environment_record()
    print_ = fingerprint(record)
    folder = state_folder()
    return DeviceFacts(
        worker="",
        machine=machine_id(),
        resources={},
        code=code_here(),
        environment=record,
        fingerprint=print_,
        doctor=report(facts(folder)),
        holding=tuple(job for job in jobs if _holds(job_folder(job, print_), job)),
    ).model_dump_json()


def lacking(digests: list[str]) -> list[str]:
    """Which of these files have to be sent."""
    return _blobs().lacking(digests)


def store(digest: str, content: bytes) -> bool:
    """Keep a file; False: what has arrived is not what was sent."""
    return _blobs().store(digest, content)


def fetch(digest: str) -> bytes:
    """A file's content; empty if it is not there."""
    path = _blobs().path(digest)
    return path.read_bytes() if path.is_file() else b""


def run_job(text: str, again: bool, told: Told = unheard) -> str:
    """Carry out the ``JobSpec`` in ``text``; JSON of its ``Outcome``, whatever happens.

    What was finished before, by the same specification, code and libraries on this machine, is found and not repeated.
    """
    spec = JobSpec.model_validate_json(text)
    mine, began = fingerprint(environment_record()), monotonic()
    about = Outcome(
        job=spec.id,
        state="failed",
        machine=machine_id(),
        code=code_here(),
        fingerprint=mine,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )

    def ended(**changes: Any) -> Outcome:
        return about.model_copy(update={"seconds": monotonic() - began, **changes})

    if spec.code != about.code:
        return ended(reason=OTHER_CODE).model_dump_json()
    folder = job_folder(spec.id, mine)
    with held(folder / LOCK, lambda: told("waiting: the same job runs already")):  # for one who is gone, perhaps
        if not again and (found := _finished(folder, spec.id)):
            return found.model_copy(update={"found": True}).model_dump_json()
        if missing := _blobs().lacking(sorted(set(spec.files.values()))):
            return ended(reason=f"{len(missing)} of its files have not arrived").model_dump_json()
        try:
            made = carry_out(state_folder(), folder, spec, told)
        except ChildFailed as failure:
            return ended(reason=str(failure)).model_dump_json()
        kept = {name: _blobs().keep(path) for name, path in made.files.items()}
        outcome = ended(state="done", engines=made.engines, files=kept)
        write_text(folder / OUTCOME, outcome.model_dump_json(indent=2) + "\n")
    return outcome.model_dump_json()


def job_folder(job: str, fingerprint_: str) -> Path:
    """Where a job's result lies: it belongs to its specification, and to the machine and libraries as they are now."""
    return state_folder() / "jobs" / sha256_json([job, fingerprint_])


def code_here() -> str:
    """The version of this project's code that this process runs, if a job's own process would run the same. A worker
    that was not restarted after an update runs two versions, and so has none that anybody else has.
    """
    loaded, on_disk = code_version(), code_on_disk()
    return loaded if loaded == on_disk else sha256_json([loaded, on_disk])


def machine_id() -> str:
    """A hash that tells machines apart, and nothing else about them."""
    for path in MACHINE_IDS:
        if path.is_file() and (text := path.read_text(encoding="ascii", errors="replace").strip()):
            return sha256(f"convnextpose {text}".encode()).hexdigest()[:16]
    return sha256(f"convnextpose {platform.node()}".encode()).hexdigest()[:16]


def _blobs() -> BlobCache:
    return BlobCache(state_folder() / "blobs")


def _finished(folder: Path, job: str) -> Outcome | None:
    """The outcome in a job's folder, if its files are still there."""
    try:
        outcome = Outcome.model_validate_json((folder / OUTCOME).read_bytes())
    except (OSError, ValueError):
        return None
    return outcome if outcome.job == job and not _blobs().lacking(outcome.files.values()) else None


def _holds(folder: Path, job: str) -> bool:
    """Whether the job's result is there, or is being made."""
    return folder.is_dir() and (_finished(folder, job) is not None or in_use(folder / LOCK))
