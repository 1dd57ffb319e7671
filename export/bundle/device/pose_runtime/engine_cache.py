"""Engines that ``build.py`` built on this device, outside of any bundle, each with a record of what it was built from.

Loading an engine runs native code out of it. So only an engine is loaded whose SHA-256 stands in a bundle's manifest,
or in a record here, where no bundle can put one: the folder belongs to this user, and nobody else may write in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pose_runtime.errors import BadInput, CheckFailed

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
        CheckFailed: others may write in the folder.
    """
    folder, found = cache_folder(), []
    if not folder.is_dir():
        return []
    _require_own(folder)
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_bytes())
            wanted = (record["schema_version"], record["runtime"], record["onnx_sha256"], record["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if wanted == (SCHEMA_VERSION, runtime, onnx_sha256, path.stem):
            found.append(dict(record))
    return found


def engine_content(record: Mapping[str, Any]) -> bytes:
    """The bytes of an engine that was built here, after comparing them with its record.

    Raises:
        CheckFailed: they are other bytes, or gone.
    """
    path, do = cache_folder() / f"{record['sha256']}.engine", "delete it and its record, and run build.py again"
    try:
        content = path.read_bytes()
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
    about = folder.stat()
    if about.st_uid != os.getuid() or about.st_mode & OTHERS_MAY_WRITE:
        seen = f"owner {about.st_uid}, mode {about.st_mode & 0o777:o}; this is user {os.getuid()}"
        raise CheckFailed(f"others may write in {folder}, where engines are kept", seen, f"chmod 700 {folder}")
