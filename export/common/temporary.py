"""Temporary folders, and the removal of what killed runs left."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.common.locks import hold_lock, is_locked

LOCK = ".lock"
OLD_S = 24 * 3600.0
"""Age of a file, or of a folder without a lock, that is taken for a leftover: a bundle's runtime locks none."""


@contextmanager
def temporary_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """Yield a new folder, locked as long as it is used; first remove what killed runs left under this prefix.

    Args:
        prefix: of its name.
        place: where it is made; by default the system's folder for temporary files.
    """
    place = place or Path(tempfile.gettempdir())
    remove_leftovers(prefix, place)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as folder, hold_lock(Path(folder) / LOCK, lambda: None):
        yield Path(folder)


def remove_leftovers(prefix: str, place: Path) -> None:
    """Remove folders and files of this user with this prefix that no process uses."""
    for leftover in list(place.glob(prefix + "*")):
        with suppress(OSError):
            status, lock = leftover.lstat(), leftover / LOCK
            is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            is_unused = not is_locked(lock) if lock.is_file() else time.time() - status.st_mtime > OLD_S
            if is_own and is_unused and stat.S_ISDIR(status.st_mode):
                shutil.rmtree(leftover, ignore_errors=True)
            elif is_own and is_unused and stat.S_ISREG(status.st_mode):
                leftover.unlink()
