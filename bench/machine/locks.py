"""Locks between processes of one machine, with a word to whoever has to wait."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from export.common.plain import printable

POLL_S = 0.25
"""How often one who waits looks: what it waits for is a measurement."""
SHOWN = 100
"""So much of a command is enough to know it by."""


@contextmanager
def hold_lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at ``path``; ``waiting`` is called if somebody else holds it. It ends with its process, too."""
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
    """Who holds the lock at ``path``, for a reader; empty if nobody does, or if this system does not tell."""
    try:
        of = path.stat()
        file = f"{os.major(of.st_dev):02x}:{os.minor(of.st_dev):02x}:{of.st_ino}"
        locks = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
        pid = next(fields[4] for fields in locks if fields[1] == "FLOCK" and fields[5] == file)
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except (OSError, ValueError, StopIteration, IndexError):
        return ""
    command = " ".join([Path(words[0]).name, *words[1:]])
    return f"process {pid}, {printable(command)[:SHOWN]}"


def is_locked(path: Path) -> bool:
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
