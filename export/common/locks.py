"""Locks between processes of one machine, with a message to a process that has to wait."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from export.common.plain import printable

POLL_S = 0.25
"""Time between attempts; a short wait is not needed, since the holder measures."""
COMMAND_CHARACTERS = 100


@contextmanager
def hold_lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at ``path``, at most until this process ends; call ``waiting`` if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire(poll_interval=POLL_S)
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> str:
    """Describe the process that holds the lock at ``path``; empty if there is none, or the system does not tell."""
    try:
        status = path.stat()
        file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        locks = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
        pid = next(fields[4] for fields in locks if fields[1] == "FLOCK" and fields[5] == file)
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except (OSError, ValueError, StopIteration, IndexError):
        return ""
    command = " ".join([Path(words[0]).name, *words[1:]])
    return f"process {pid}, {printable(command)[:COMMAND_CHARACTERS]}"


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock at ``path``."""
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return _is_locked_by_another_user(path)


def _is_locked_by_another_user(path: Path) -> bool:
    """Ask for a shared lock, which a file that this user may only read allows."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass
    return False
