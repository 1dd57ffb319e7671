"""What a device answers, before anything is made of it: no type, name, size or content is taken on trust.

A worker may be broken, or in the wrong hands. Here is what its answers have to be; whatever they are, they fail that
device's job and nothing else. (What Dask itself makes of bytes from a worker happens before: see docs/fleet.md.)
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.environment import fingerprint
from bench.fleet.spec import SCHEMA_VERSION, DeviceFacts, JobSpec, Outcome, ResultFile, code_version
from bench.result import SCHEMA_VERSION as RESULT_VERSION
from bench.result import Result
from export.manifest import SCHEMA_VERSION as MANIFEST_VERSION
from export.manifest import Manifest

MIB = 1 << 20
MOST_TEXT = 4 * MIB
"""Characters of what a device says; what it is and what its doctor says are some ten thousand."""
MOST_BYTES: Mapping[ResultFile, int] = {
    "manifest.json": 16 * MIB,
    "bench/result.json": 64 * MIB,
    "bench/samples.npz": 1024 * MIB,
}
"""Many times what a day of measuring leaves, and not enough to fill a disk."""
MANIFEST: ResultFile = "manifest.json"
RESULT: ResultFile = "bench/result.json"
SAMPLES: ResultFile = "bench/samples.npz"
SHOWN = 1000
"""Characters of a reason; a terminal is to show them, and not to obey them."""

T = TypeVar("T", bound=BaseModel)


class Refused(Exception):
    """A device answers as none of ours does; the text says how."""


def checked_lacking(answer: object, asked: Sequence[str]) -> list[str]:
    """Which of the files ``asked`` about have to be sent.

    Raises:
        Refused: the answer is no list of them.
    """
    if not isinstance(answer, list | tuple):
        raise Refused(f"refused: it was asked what it lacks, and answers with {_kind(answer)}")
    if not all(isinstance(digest, str) and digest in asked for digest in answer):
        raise Refused("refused: it wants files that the job does not have")
    return list(dict.fromkeys(answer))


def checked_bytes(answer: object, name: ResultFile) -> bytes:
    """A file's content.

    Raises:
        Refused: it is none, or larger than such a file can be.
    """
    if not isinstance(answer, bytes | bytearray | memoryview):
        raise Refused(f"refused: it was asked for {name}, and answers with {_kind(answer)}")
    size = memoryview(answer).nbytes
    if size > MOST_BYTES[name]:
        raise Refused(f"refused: its {name} has {size / 1e6:.3g} MB; at most {MOST_BYTES[name] / 1e6:.3g} are taken")
    return bytes(answer)


def checked_outcome(answer: object, spec: JobSpec) -> Outcome:
    """What it says has become of the job.

    Raises:
        Refused: it is no outcome, or one of another job or of other code.
    """
    try:
        plain = json.loads(_text(answer))
        if plain["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {plain['schema_version']}")
        outcome = Outcome.model_validate(plain)
    except (ValidationError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Refused(f"refused: what came back is no outcome ({_said(error)})") from error
    if outcome.job != spec.id:
        raise Refused(f"refused: the result is of another job ({outcome.job[:12]}…)")
    if outcome.code != code_version():
        raise Refused(f"refused: the result is of another version of this project (code {outcome.code[:12]}…)")
    if outcome.state == "lost":
        raise Refused("refused: a device cannot say that its job is lost")
    plain_words = {"reason": shown(outcome.reason), "engines": tuple(map(shown, outcome.engines))}
    if outcome.state == "failed":
        return outcome.model_copy(update={**plain_words, "files": {}})
    if missing := {MANIFEST, RESULT} - outcome.files.keys():
        raise Refused(f"refused: it says that the job is done, without {' and '.join(sorted(missing))}")
    return outcome.model_copy(update=plain_words)


def require_result(files: Mapping[ResultFile, bytes], sent: bytes) -> None:
    """That the files of a job that is done are a result of that job, and can be read.

    Args:
        files: by their names.
        sent: the manifest that the device was given. It comes back as it was, with the engines that were built.

    Raises:
        Refused: they are not, or cannot.
    """
    manifest, given = _read(files, MANIFEST, Manifest), Manifest.model_validate_json(sent)
    result = _read(files, RESULT, Result)
    for name, found, version in (
        (MANIFEST, manifest.schema_version, MANIFEST_VERSION),
        (RESULT, result.schema_version, RESULT_VERSION),
    ):
        if found != version:
            raise Refused(f"refused: its {name} is of schema {shown(found)}, and not {version}")
    kept = [artifact for artifact in manifest.artifacts if artifact.kind != "engine"]
    onnx = [artifact for artifact in given.artifacts if artifact.kind != "engine"]
    if manifest.model_copy(update={"artifacts": kept}) != given.model_copy(update={"artifacts": onnx}):
        raise Refused("refused: its manifest.json is not that of the job")
    _require_of(result, manifest)
    _require_samples(result, files)


def checked_facts(answer: object) -> DeviceFacts:
    """What a device is, in the form that every view of it reads.

    Raises:
        Refused: it is something else.
    """
    other = ""
    try:
        plain = json.loads(_text(answer))
        if isinstance(plain, dict) and plain.get("code") != code_version():
            other = "has another version of this project, and "
        facts = DeviceFacts.model_validate(plain)
        _require_environment(facts.environment)
        _Doctor.model_validate(facts.doctor)
    except (ValidationError, ValueError, RecursionError) as error:
        raise Refused(f"it {other}answers in another form ({_said(error)})") from error
    return facts


def shown(text: str) -> str:
    """As a line that a terminal may get."""
    return "".join(c if c.isprintable() else " " for c in text[:SHOWN])


def _read(files: Mapping[ResultFile, bytes], name: ResultFile, kind: type[T]) -> T:
    try:
        return kind.model_validate_json(files[name])
    except ValidationError as error:
        raise Refused(f"refused: its {name} cannot be read ({_said(error)})") from error


def _require_of(result: Result, manifest: Manifest) -> None:
    """That it was measured, whole, on the files of the manifest."""
    if (result.model, result.weights, result.kind) != (manifest.model, manifest.weights.origin, "bench"):
        raise Refused(f"refused: its {RESULT} is of {shown(result.model)}, and not of {manifest.model}")
    if not result.complete:
        raise Refused(f"refused: its {RESULT} is not complete")
    known = {artifact.path: artifact.sha256 for artifact in manifest.artifacts}
    for row in result.rows:
        if row.artifact is not None and known.get(row.artifact) != row.artifact_sha256:
            raise Refused(f"refused: its {RESULT} was measured on another {shown(row.artifact)} than the job's")
    try:
        _require_environment(result.environment)
    except ValidationError as error:
        raise Refused(f"refused: its {RESULT} does not say what it was measured on ({_said(error)})") from error
    if fingerprint(result.environment) != result.fingerprint:
        raise Refused(f"refused: the fingerprint in its {RESULT} is of another environment")


def _require_samples(result: Result, files: Mapping[ResultFile, bytes]) -> None:
    if result.samples is None:
        return
    if SAMPLES not in files or f"bench/{result.samples.path}" != SAMPLES:
        raise Refused(f"refused: it says that there are samples, without {SAMPLES}")
    try:
        with zipfile.ZipFile(io.BytesIO(files[SAMPLES])) as inside:
            if sum(info.file_size for info in inside.infolist()) > MOST_BYTES[SAMPLES]:
                raise Refused(f"refused: its {SAMPLES} unpacks to more than {MOST_BYTES[SAMPLES] / 1e6:.3g} MB")
        with np.load(io.BytesIO(files[SAMPLES]), allow_pickle=False) as arrays:
            for name in arrays.files:
                arrays[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise Refused(f"refused: its {SAMPLES} cannot be read ({_said(error)})") from error


class _Seen(BaseModel):
    """What views read of a record that may hold more."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Host(_Seen):
    cpu: str
    usable_cores: int
    machine: str
    governor: str | None


class _Gpu(_Seen):
    name: str
    driver: str | None
    power_limit_w: float | None


class _Software(_Seen):
    python: str
    libraries: dict[str, str]


class _Environment(_Seen):
    host: _Host
    gpus: list[_Gpu]
    software: _Software


class _Capability(_Seen):
    name: str
    available: str
    why: str


class _Doctor(_Seen):
    capabilities: list[_Capability]


def _require_environment(environment: Mapping[str, Any]) -> None:
    _Environment.model_validate(environment)


def _text(answer: object) -> str:
    if not isinstance(answer, str):
        raise ValueError(f"it is {_kind(answer)}, and no text")
    if len(answer) > MOST_TEXT:
        raise ValueError(f"it has {len(answer)} characters")
    return answer


def _kind(answer: object) -> str:
    return "nothing" if answer is None else f"a {type(answer).__name__}"


def _said(error: Exception) -> str:
    """In a line, with the place where there is one."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return shown(f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200])
    if isinstance(error, RecursionError):
        return "nested beyond reason"
    return shown((str(error).splitlines() or [type(error).__name__])[0][:200])
