"""One job carried to one device and its result back: only what the device lacks, and everything by its hash."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from pydantic import ValidationError

from bench.fleet.blobs import BlobCache
from bench.fleet.spec import SCHEMA_VERSION, JobResult, JobSpec, Outcome, code_version

ATTEMPTS = 3
"""For each file: what arrives damaged three times does not so by chance."""
ANEW = "convnextpose fleet run, and not resume, makes it anew"

Told = Callable[[str], None]


class Link(Protocol):
    """The way to one device; see ``bench.fleet.device`` for what it answers."""

    worker: str

    def lacking(self, digests: list[str]) -> list[str]:
        """Which files have to be sent."""

    def store(self, digest: str, content: bytes) -> bool:
        """Send one; whether it has arrived whole."""

    def run_job(self, spec: JobSpec, again: bool, told: Told) -> str:
        """JSON of the outcome."""

    def fetch(self, digest: str) -> bytes:
        """Get one."""


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
        What has become of it. A job that failed, or whose result cannot be trusted, is a result too.
    """
    try:
        sent = _send(link, spec, sources, told)
        outcome = _checked(link.run_job(spec, again, told), spec).model_copy(update={"worker": link.worker})
        if outcome.state == "done":
            told("bringing the result back")
        blobs = {digest: _fetch(link, digest) for digest in set(outcome.files.values())}
        return JobResult(outcome.model_copy(update={"bytes_sent": sent}), blobs)
    except Undelivered as trouble:
        return JobResult(failed(spec, str(trouble), link.worker), {})
    except SourceLost as fault:
        return JobResult(failed(spec, str(fault)), {}, ours=True)


def failed(spec: JobSpec, reason: str, worker: str = "") -> Outcome:
    """The outcome of a job that came to nothing."""
    return Outcome(job=spec.id, state="failed", reason=reason, worker=worker, code=code_version())


def _send(link: Link, spec: JobSpec, sources: BlobCache, told: Told) -> int:
    """Send what the device lacks; returns how many bytes that were."""
    missing, sent = link.lacking(sorted(set(spec.files.values()))), 0
    for number, digest in enumerate(missing, 1):
        content = _content(spec, digest, sources)
        told(f"sending file {number} of {len(missing)}, {len(content) / 1e6:.1f} MB")
        for _ in range(ATTEMPTS):
            sent += len(content)
            if link.store(digest, content):
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


def _fetch(link: Link, digest: str) -> bytes:
    for _ in range(ATTEMPTS):
        content = link.fetch(digest)
        if sha256(content).hexdigest() == digest:
            return content
    raise Undelivered(f"a file of the result came back damaged {ATTEMPTS} times (sha256 {digest[:12]}…)")


def _checked(text: str, spec: JobSpec) -> Outcome:
    """The outcome, if it is of this job and of this code."""
    try:
        plain = json.loads(text)
        if plain["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {plain['schema_version']}")
        outcome = Outcome.model_validate(plain)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        return failed(spec, f"refused: what came back is no outcome ({str(error).splitlines()[0]})")
    if outcome.job != spec.id:
        return failed(spec, f"refused: the result is of another job ({outcome.job[:12]}…)")
    if outcome.code != code_version():
        return failed(spec, f"refused: the result is of another version of this project (code {outcome.code[:12]}…)")
    return outcome
