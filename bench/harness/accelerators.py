"""Locks on processor and GPU: benchmarks of one machine and user wait for each other, whoever started them."""

import getpass
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from export.common.errors import NotPossible
from export.common.locks import hold_lock, holder

CPU = "cpu"

OnWait = Callable[[str, str], None]
"""(name of the locked accelerator, its holder or ``""``), called before waiting for it."""


@contextmanager
def lock_accelerators(runtimes: Sequence[str] | None, reference: str | None, on_wait: OnWait) -> Iterator[None]:
    """Lock what these runtimes are measured on, against other benchmarks of this user.

    Args:
        runtimes: to measure; None: any.
        reference: runtime that they are compared with, if it is named.
        on_wait: called for each accelerator that another process holds.

    Raises:
        NotPossible: the locks cannot be created; see ``lock_folder``.
    """
    folder = lock_folder()
    with ExitStack() as stack:
        for name in accelerators(runtimes, reference):
            path = folder / f"{name}.lock"
            try:
                stack.enter_context(hold_lock(path, partial(_report_wait, on_wait, name, path)))
            except OSError as error:
                raise _no_locks(path, error.strerror or str(error)) from error
        yield


def accelerators(runtimes: Sequence[str] | None, reference: str | None) -> list[str]:
    """Return the processor, which every row needs, and the GPU if one answers and a runtime needs it.

    The order is always the same, so that no two benchmarks wait for each other.
    """
    from bench.machine.driver import first_bus_id
    from bench.sessions.gpu_runtimes import is_gpu

    names = [CPU]
    if runtimes is None or any(map(is_gpu, (*runtimes, reference))):
        with suppress(OSError, RuntimeError):  # no GPU; the rows will say so
            names.append("gpu-" + "".join(c if c.isalnum() else "-" for c in first_bus_id()))
    return names


def lock_folder() -> Path:
    """Return the folder of this user's locks: one place for all processes, wherever they keep their results.

    Another user's cannot be shared: Linux does not let you open a file of theirs in a folder for all.

    Raises:
        NotPossible: the folder belongs to another user, is no folder, or cannot be created.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"convnextpose-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        is_link, owner = folder.is_symlink(), folder.lstat().st_uid
    except OSError as error:
        raise _no_locks(folder, error.strerror or str(error)) from error
    if is_link:  # its owner is not the owner of the folder that it leads to
        raise _no_locks(folder, "it is a link")
    if hasattr(os, "getuid") and owner != user:
        raise _no_locks(folder, "it belongs to another user")
    return folder


def _no_locks(path: Path, reason: str) -> NotPossible:
    return NotPossible(f"cannot lock this machine at {path}", reason, "remove it, or set TMPDIR to a folder of yours")


def _report_wait(on_wait: OnWait, name: str, path: Path) -> None:
    on_wait(name, holder(path))
