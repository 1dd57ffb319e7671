"""One job carried to one device and its result back: only what the device lacks, and everything by its hash."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from traceback import extract_tb
from typing import Protocol

from bench.fleet.blobs import BlobCache
from bench.fleet.border import (
    MANIFEST,
    Refused,
    checked_bytes,
    checked_lacking,
    checked_outcome,
    require_result,
    shown,
)
from bench.fleet.spec import JobResult, JobSpec, Outcome, ResultFile, code_version
from export.errors import Failure

ATTEMPTS = 3
"""For each file: what arrives damaged three times does not so by chance."""
ANEW = "convnextpose fleet run, and not resume, makes it anew"

Told = Callable[[str], None]


class Link(Protocol):
    """The way to one device; see ``bench.fleet.device`` for what it answers, and ``bench.fleet.border`` for what may
    come instead.

    Raises:
        DeviceLost: from each.
    """

    worker: str

    def lacking(self, digests: list[str]) -> object:
        """Which files have to be sent."""

    def store(self, digest: str, content: bytes) -> object:
        """Send one; true if it has arrived whole."""

    def run_job(self, spec: JobSpec, again: bool, told: Told) -> object:
        """JSON of the outcome."""

    def fetch(self, digest: str) -> object:
        """Get one."""


class DeviceLost(Exception):
    """The device, or the way to it, is gone; the text says so for a reader."""


class Undelivered(Exception):
    """A file does not get there, or not back, whole; the text says which and why."""


class SourceLost(Exception):
    """A file that is to be sent is no longer what it was: no device can help that."""


def deliver(link: Link, spec: JobSpec, sources: BlobCache, again: bool, told: Told) -> JobResult:
    """Have ``spec`` carried out.

    Args:
        link: to the device.
        spec: what to do.
        sources: all files that the specification names.
        again: whether a result that the device has is measured once more.
        told: is told what is being done.

    Returns:
        What has become of it. A job that failed, or whose result cannot be trusted, is a result too, whatever the
        device did.

    Raises:
        DeviceLost: the device is gone.
        Failure: of the machine that asks, such as a full disk.
    """
    try:
        sent = _send(link, spec, sources, told)
        outcome = checked_outcome(link.run_job(spec, again, told), spec)
        outcome = outcome.model_copy(update={"worker": link.worker, "bytes_sent": sent})
        if outcome.state != "done":
            return JobResult(outcome, {})
        told("bringing the result back")
        files = {name: _fetch(link, name, digest) for name, digest in outcome.files.items()}
        require_result(files, _content(spec, spec.files[MANIFEST], sources))
        return JobResult(outcome, {outcome.files[name]: content for name, content in files.items()})
    except (DeviceLost, Failure):
        raise
    except (Undelivered, Refused) as trouble:
        return JobResult(failed(spec, str(trouble), link.worker), {})
    except SourceLost as fault:
        return JobResult(failed(spec, str(fault)), {}, ours=True)
    except Exception as fault:  # of what it answered something got through that must not end the run
        return JobResult(failed(spec, f"an error that was not foreseen: {place_of(fault)}", link.worker), {})


def failed(spec: JobSpec, reason: str, worker: str = "") -> Outcome:
    """The outcome of a job that came to nothing."""
    return Outcome(job=spec.id, state="failed", reason=reason, worker=worker, code=code_version())


def place_of(fault: Exception) -> str:
    """An exception that nobody has foreseen, in a line for whoever mends it: what, and where."""
    where = extract_tb(fault.__traceback__)[-1]
    said = (str(fault).splitlines() or [""])[0]
    return shown(f"{type(fault).__name__}: {said[:200]} ({Path(where.filename).name}, line {where.lineno})")


def _send(link: Link, spec: JobSpec, sources: BlobCache, told: Told) -> int:
    """Send what the device lacks; returns how many bytes that were."""
    asked, sent = sorted(set(spec.files.values())), 0
    missing = checked_lacking(link.lacking(asked), asked)
    for number, digest in enumerate(missing, 1):
        content = _content(spec, digest, sources)
        told(f"sending file {number} of {len(missing)}, {len(content) / 1e6:.1f} MB")
        for _ in range(ATTEMPTS):
            sent += len(content)
            if link.store(digest, content) is True:
                break
        else:
            raise Undelivered(f"{_name(spec, digest)} arrived damaged {ATTEMPTS} times")
    return sent


def _content(spec: JobSpec, digest: str, sources: BlobCache) -> bytes:
    path, name = sources.path(digest), _name(spec, digest)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceLost(f"{name} can no longer be read here ({path}: {error.strerror}); {ANEW}") from error
    if sha256(content).hexdigest() != digest:
        raise SourceLost(f"{name} was changed here since the run was planned ({path}); {ANEW}")
    return content


def _name(spec: JobSpec, digest: str) -> str:
    return next(name for name, of in spec.files.items() if of == digest)


def _fetch(link: Link, name: ResultFile, digest: str) -> bytes:
    for _ in range(ATTEMPTS):
        content = checked_bytes(link.fetch(digest), name)
        if sha256(content).hexdigest() == digest:
            return content
    raise Undelivered(f"{name} came back damaged {ATTEMPTS} times (sha256 {digest[:12]}…)")
