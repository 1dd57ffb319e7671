"""Engines that ``build.py`` built on this device, stored outside of any bundle, each with a record of its source.

Loading an engine runs native code in it. Therefore an engine is loaded only if its SHA-256 is in a record here, where
no bundle can put one: folder, records and engines belong to this user, and nobody else may write to them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from pose_runtime.runtime.errors import BadInput, CheckFailed, NotPossible

SCHEMA_VERSION = "1.0"
VARIABLE = "POSE_RUNTIME_CACHE"
OTHERS_MAY_WRITE = 0o022
PRIVATE = 0o644
"""Mode of an engine and its record, whatever the umask allows."""


def cache_folder() -> Path:
    """Return ``$POSE_RUNTIME_CACHE``, or ``pose_runtime`` in the user's cache folder.

    Raises:
        NotPossible: this user has no home folder.
    """
    folder = os.environ.get(VARIABLE)
    if folder:
        return Path(folder)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pose_runtime"
    except (RuntimeError, KeyError) as error:  # KeyError: Python 3.8
        problem, advice = "no folder for engines", f"set HOME or {VARIABLE} to a folder that you may write"
        raise NotPossible(problem, "this user has no home folder, and HOME is not set", advice) from error


def prepare_cache() -> Path:
    """Make the folder if there is none, and return it: a build takes minutes, and is of no use without it.

    Raises:
        BadInput: the folder cannot be written.
        CheckFailed: others may write in it.
        NotPossible: there is no such folder.
    """
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(folder)
    except OSError as error:
        raise _not_written(folder, error) from error
    if not os.access(str(folder), os.W_OK):
        raise _not_written(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return folder


def store_engine(content: bytes, record: Mapping[str, Any]) -> Path:
    """Write an engine, and then its record, under the name of its hash; return the engine's path.

    Raises:
        BadInput: the folder cannot be written.
        CheckFailed: others may write in it.
        NotPossible: there is no such folder.
    """
    folder, digest = prepare_cache(), hashlib.sha256(content).hexdigest()
    path = folder / f"{digest}.engine"
    full = {**record, "schema_version": SCHEMA_VERSION, "sha256": digest, "size_bytes": len(content)}
    try:
        write_whole(path, content, PRIVATE)
        write_whole(path.with_suffix(".json"), (json.dumps(full, indent=2, sort_keys=True) + "\n").encode(), PRIVATE)
    except OSError as error:
        raise _not_written(folder, error) from error
    return path


def stored_records(runtime: str, onnx_sha256: str) -> list[dict[str, Any]]:
    """Return the records of this runtime's engines from this ONNX file; leave out unreadable ones.

    Raises:
        CheckFailed: others may write in the folder, or wrote a record.
    """
    try:
        folder = cache_folder()
    except NotPossible:
        return []
    if not folder.is_dir():
        return []
    records = []
    _require_private(folder)
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(_private_content(path))
            key = (record["schema_version"], record["runtime"], record["onnx_sha256"], record["sha256"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if key == (SCHEMA_VERSION, runtime, onnx_sha256, path.stem):
            records.append(dict(record))
    return records


def engine_path(record: Mapping[str, Any]) -> Path:
    """Return the path of an engine that was built here."""
    return cache_folder() / f"{record['sha256']}.engine"


def engine_content(record: Mapping[str, Any]) -> bytes:
    """Return the bytes of an engine that was built here, after comparing them with its record.

    Raises:
        CheckFailed: they are other bytes, or gone, or not this user's own.
    """
    path, advice = engine_path(record), "delete it and its record, and run build.py again"
    try:
        content = _private_content(path)
    except OSError as error:
        raise CheckFailed(f"{path} cannot be read", error.strerror or str(error), advice) from error
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise CheckFailed(f"{path} was changed since it was built", "its SHA-256 is not its record's", advice)
    return content


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a temporary file beside, then rename it: it appears whole or not at all. The umask limits its mode."""
    partial = str(path.parent / f".partial-{token_hex(8)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, str(path))
    except BaseException:
        os.unlink(partial)
        raise


def _not_written(folder: Path, error: OSError) -> BadInput:
    advice = f"make room, or name another folder with {VARIABLE}"
    return BadInput(f"cannot write {folder}", error.strerror or str(error), advice)


def _require_private(folder: Path) -> None:
    if writers := _other_writers(folder.stat()):
        advice = f"others may have put engines there: delete the folder {folder}, and build again"
        raise CheckFailed(f"others may write in {folder}, where engines are stored", writers, advice)


def _private_content(path: Path) -> bytes:
    """Return the bytes of a file of this user's; owner and mode are read from the open file."""
    with path.open("rb") as file:
        if writers := _other_writers(os.fstat(file.fileno())):
            advice = f"delete all files in {path.parent}, and build again"
            raise CheckFailed(f"others may write to {path}, or made it", writers, advice)
        return file.read()


def _other_writers(status: os.stat_result) -> str:
    """Return owner and mode if others than this user may write; an empty text if not, or on Windows."""
    if not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & OTHERS_MAY_WRITE):
        return ""
    return f"owner {status.st_uid}, mode {status.st_mode & 0o777:o}; this is user {os.getuid()}"
