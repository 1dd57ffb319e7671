"""Atomic writes of files, and hashes."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from export.common.errors import BadInput
from export.common.temporary import remove_leftovers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROJECT = Path(__file__).resolve().parents[2]
"""Folder that holds the packages: the repository, or ``site-packages``."""
PARTIAL_PREFIX = ".convnextpose-partial-"
"""Prefix of every unfinished file and folder, by which the leftovers of a killed run are found, and no other's."""

WRITE_ERRORS = {
    *(errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EPERM, errno.EROFS),
    *(errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY),
}

UNREADABLE_ARRAYS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""Exceptions of reading a damaged ``.npz``; a truncated file raises ``BadZipFile``, not an ``OSError``."""


def sha256_file(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all but the folders in a folder and below it, however deep; links are not followed."""
    folders = [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield Path(entry.path)


def sha256_path(path: Path) -> str:
    """Return the hex digest of a file, or of the sorted relative names and digests of a folder's files.

    Raises:
        BadInput: the path is missing, unreadable, or neither a file nor a folder (a pipe would never end).
    """
    try:
        if not path.is_dir():
            if path.exists() and not path.is_file():
                raise BadInput(f"cannot read {path}", "neither a file nor a folder", "name a checkpoint")
            return sha256_file(path)
        digest = hashlib.sha256()
        for file in sorted(p for p in files_below(path) if p.is_file()):
            line = f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n"
            digest.update(line.encode(errors="surrogateescape"))  # a name may be no UTF-8
        return digest.hexdigest()
    except OSError as error:
        raise BadInput(f"cannot read {path}", error.strerror or str(error), "check the path") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` if the block succeeds, and remove it otherwise.

    It is in the same folder, so that the rename is atomic. The umask decides who may read it, as of any file.

    Raises:
        BadInput: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(PARTIAL_PREFIX, path.parent)
        partial = path.parent / f"{PARTIAL_PREFIX}{token_hex(8)}{path.suffix}"
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno in WRITE_ERRORS:
            raise write_error(path, error) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def apply_umask(path: Path, *, executable: bool = False) -> None:
    """Give a copied file or a folder the mode that it would have if it had been made here."""
    mask = os.umask(0o077)
    os.umask(mask)
    path.chmod((0o777 if executable or path.is_dir() else 0o666) & ~mask)


def move_file(source: Path, target: Path) -> None:
    """Rename a file; where the target's folder is on another file system, copy the file there first."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
        source.unlink()


def require_writable(folder: Path) -> None:
    """Check, before long work, that a folder can be written to.

    Raises:
        BadInput: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise write_error(folder, error) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as indented JSON; NaN and infinity raise ``ValueError``."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_image(path: Path, image: "NDArray[np.uint8]") -> None:
    """Write (H, W, 3) RGB to ``path`` as PNG, atomically."""
    import cv2
    import numpy as np

    _, encoded = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    with whole_file(path) as partial:
        partial.write_bytes(encoded.tobytes())


def sweep_partials(folder: Path) -> None:
    """Remove the unfinished files of a killed run; the caller holds the folder's lock."""
    for leftover in list(folder.glob(PARTIAL_PREFIX + "*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> BadInput:
    """Return the error for a path that cannot be written to."""
    return BadInput(
        f"cannot write {path}",
        error.strerror or str(error),
        "choose another folder with --out (OUT= for make), or make room on the disk",
    )
