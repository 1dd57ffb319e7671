"""Folders for temporary files that the next run removes if a run was killed."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.machine.locks import hold_lock, is_locked

LOCK = ".lock"
OLD_S = 24 * 3600.0
"""Age of a folder without a lock that is taken for a leftover: earlier versions locked none."""


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """Yield a new folder, locked as long as it is used; first remove what killed runs left under this name."""
    prefix = f"convnextpose-{name}-"
    remove_leftovers(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder, hold_lock(Path(folder) / LOCK, lambda: None):
        yield Path(folder)


def remove_leftovers(prefix: str) -> None:
    """Remove folders of this user with this prefix that no process uses."""
    for place in Path(tempfile.gettempdir()).glob(prefix + "*"):
        with suppress(OSError):
            status, lock = place.lstat(), place / LOCK
            is_own = stat.S_ISDIR(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())
            is_unused = not is_locked(lock) if lock.is_file() else time.time() - status.st_mtime > OLD_S
            if is_own and is_unused:
                shutil.rmtree(place, ignore_errors=True)
