"""What is measured on, and that nothing else is measured on it meanwhile: benchmarks of one machine and user wait for
each other, whether a person started them or a fleet."""

import getpass
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from bench.machine.locks import hold_lock, holder
from export.common.errors import NotPossible

CPU = "cpu"

Waiting = Callable[[str, str], None]
"""Is told what is not free, and who has it; that is empty if it cannot be known."""


@contextmanager
def accelerators_held(runtimes: Sequence[str] | None, reference: str | None, waiting: Waiting) -> Iterator[None]:
    """Nothing else of this user is measured meanwhile on what these are measured on.

    Args:
        runtimes: those that are asked for; None: any that there is.
        reference: what they are compared with, if it is asked for by name.
        waiting: is called for what somebody else holds, before it is waited for.

    Raises:
        NotPossible: the locks cannot be had; see ``machine_folder``.
    """
    locks = machine_folder()
    with ExitStack() as all_of_them:
        for name in accelerators(runtimes, reference):
            path = locks / f"{name}.lock"
            try:
                all_of_them.enter_context(hold_lock(path, partial(_tell, waiting, name, path)))
            except OSError as error:
                raise _no_locks(path, error.strerror or str(error)) from error
        yield


def accelerators(runtimes: Sequence[str] | None, reference: str | None) -> list[str]:
    """The processor, on which the host's part of every row runs, and the GPU where one answers and is asked for.

    Always in the same order, so that no two benchmarks wait for each other.
    """
    from bench.sessions.gpu_runtimes import is_gpu
    from export.common.gpu import first_bus_id

    names = [CPU]
    if runtimes is None or any(map(is_gpu, (*runtimes, reference))):
        with suppress(OSError, RuntimeError):  # there is none, and the rows will say so
            names.append("gpu-" + "".join(c if c.isalnum() else "-" for c in first_bus_id()))
    return names


def machine_folder() -> Path:
    """Where the locks of this machine's accelerators lie: one place for all processes of one user, wherever they keep
    their results. (Another user's cannot be shared: Linux lets nobody open a file of theirs in a folder for all.)

    Raises:
        NotPossible: the folder is somebody else's, is none, or cannot be made.
    """
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir()) / f"convnextpose-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        is_link, owner = folder.is_symlink(), folder.lstat().st_uid
    except OSError as error:
        raise _no_locks(folder, error.strerror or str(error)) from error
    if is_link:  # whose owner is not that of the folder that it leads to
        raise _no_locks(folder, "it is a link")
    if hasattr(os, "getuid") and owner != user:
        raise _no_locks(folder, "it belongs to another user")
    return folder


def _no_locks(place: Path, seen: str) -> NotPossible:
    return NotPossible(f"{place} is for our locks", seen, "remove it, or set TMPDIR to a folder of yours")


def _tell(waiting: Waiting, name: str, path: Path) -> None:
    waiting(name, holder(path))
