"""Locks between processes of one machine, with a word to whoever has to wait."""

import getpass
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from export.errors import NotPossible


def machine_folder() -> Path:
    """Where the locks of this machine's accelerators lie: one place for all processes of one user, wherever they keep
    their results. (Another user's cannot be shared: Linux lets nobody open a file of theirs in a folder for all.)

    Raises:
        NotPossible: the folder is somebody else's.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"convnextpose-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != user:
        raise NotPossible(f"{folder} is for our locks", "it belongs to another user", "remove it, or set TMPDIR")
    return folder


@contextmanager
def held(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at ``path``; ``waiting`` is called if somebody else holds it. It ends with its process, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def in_use(path: Path) -> bool:
    """Whether somebody holds the lock at ``path``."""
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return _held_by_another_user(path)


def _held_by_another_user(path: Path) -> bool:
    """Of a lock that we may not write: what may be read can be asked for together with others."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass
    return False
