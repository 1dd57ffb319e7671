"""Engines that ``build.py`` built on this device, outside of any bundle, each with a record of what it was built from.

Loading an engine runs native code out of it. So only an engine is loaded whose SHA-256 stands in a bundle's manifest,
or in a record here, where no bundle can put one: folder, records and engines belong to this user, and nobody else may
write to any of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pose_runtime.runtime.errors import BadInput, CheckFailed

SCHEMA_VERSION = "1.0"
VARIABLE = "POSE_RUNTIME_CACHE"
OTHERS_MAY_WRITE = 0o022


def cache_folder() -> Path:
    """``$POSE_RUNTIME_CACHE``, or ``pose_runtime`` in the user's cache folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pose_runtime"


def keep_engine(content: bytes, record: Mapping[str, Any]) -> Path:
    """Write an engine, and then its record, under the name of its hash; returns the engine's path.

    Raises:
        BadInput: the folder cannot be written.
        CheckFailed: others may write in it.
    """
    folder, digest = cache_folder(), hashlib.sha256(content).hexdigest()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_own(folder)
        whole = {**record, "schema_version": SCHEMA_VERSION, "sha256": digest, "size_bytes": len(content)}
        write_whole(folder / f"{digest}.engine", content)
        write_whole(folder / f"{digest}.json", (json.dumps(whole, indent=2, sort_keys=True) + "\n").encode())
    except OSError as error:
        do = f"make room, or name another folder with {VARIABLE}"
        raise BadInput(f"cannot write {folder}", error.strerror or str(error), do) from error
    return folder / f"{digest}.engine"


def built_here(runtime: str, onnx_sha256: str) -> list[dict[str, Any]]:
    """The records of this runtime's engines that were built here from this ONNX file; unreadable ones are left out.

    Raises:
        CheckFailed: others may write in the folder, or wrote a record.
    """
    folder, found = cache_folder(), []
    if not folder.is_dir():
        return []
    _require_own(folder)
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(_own_content(path))
            wanted = (record["schema_version"], record["runtime"], record["onnx_sha256"], record["sha256"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if wanted == (SCHEMA_VERSION, runtime, onnx_sha256, path.stem):
            found.append(dict(record))
    return found


def engine_path(record: Mapping[str, Any]) -> Path:
    """Where an engine lies that was built here."""
    return cache_folder() / f"{record['sha256']}.engine"


def engine_content(record: Mapping[str, Any]) -> bytes:
    """The bytes of an engine that was built here, after comparing them with its record.

    Raises:
        CheckFailed: they are other bytes, or gone, or not this user's own.
    """
    path, do = engine_path(record), "delete it and its record, and run build.py again"
    try:
        content = _own_content(path)
    except OSError as error:
        raise CheckFailed(f"{path} cannot be read", error.strerror or str(error), do) from error
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise CheckFailed(f"{path} was changed since it was built", "its SHA-256 is not its record's", do)
    return content


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, then rename: the file appears whole or not at all."""
    handle, partial = tempfile.mkstemp(prefix=".partial-", dir=str(path.parent))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, str(path))
    except BaseException:
        os.unlink(partial)
        raise


def _require_own(folder: Path) -> None:
    if not hasattr(os, "getuid"):
        return
    if others := _others(folder.stat()):
        what = f"others may write in {folder}, where engines are kept"
        raise CheckFailed(
            what, others, f"others may have laid engines there: delete the folder {folder}, and build again"
        )


def _own_content(path: Path) -> bytes:
    """The bytes of a file of this user's; those that are read are of the file that was looked at.

    Raises:
        CheckFailed: it belongs to somebody else, or others may write to it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if hasattr(os, "getuid") and (others := _others(os.fstat(file.fileno()))):
            do = f"delete all that lies in {path.parent}, and build again"
            raise CheckFailed(f"others may write to {path}, or have made it", others, do)
        return file.read()


def _others(about: os.stat_result) -> str:
    """What lets others than this user write; empty if nothing does."""
    if about.st_uid == os.getuid() and not about.st_mode & OTHERS_MAY_WRITE:
        return ""
    return f"owner {about.st_uid}, mode {about.st_mode & 0o777:o}; this is user {os.getuid()}"
