"""Interrupts: Ctrl-C, SIGTERM and SIGHUP end a command in the same way and keep its finished work."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
"""Exit code of shells, and of typer, for a command that Ctrl-C ended."""

RETRY_S = 0.01
"""Delay before a lost interrupt is raised again; by then the code that cannot be interrupted has usually ended."""

_received: list[int] = []


class Interrupted(KeyboardInterrupt):
    """An interrupt by any of the three signals.

    It is a subclass because CPython takes note of KeyboardInterrupt itself where it leaves code that was given as
    text, such as a dataclass that a library makes while it is imported. ``python -m`` then ends by SIGINT, even if the
    interrupt was caught, and the exit code is lost.
    """


def install_handlers() -> None:
    """Raise ``Interrupted`` on SIGINT, SIGTERM and SIGHUP; ignored signals, as under ``nohup``, stay ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
            if not isinstance(sys.unraisablehook, _RaiseAgain):
                sys.unraisablehook = _RaiseAgain(sys.unraisablehook)


def interrupted() -> bool:
    """Return whether one of the signals has arrived."""
    return bool(_received)


def exit_code() -> int:
    """Return the exit code of an interrupted run: 128 and the signal's number, as shells count."""
    return 128 + _received[0] if _received else INTERRUPTED


def _interrupt(number: int, _: FrameType | None) -> None:
    _received.append(number)
    if not _RaiseAgain.active:
        raise Interrupted


class _RaiseAgain:
    """A hook that raises an interrupt again, which Python dropped in a finalizer or while it released an import lock.

    Nothing can be raised there, so another thread sends the signal once more.
    """

    active = False
    """True while the hook works: nothing can be raised here either."""

    def __init__(self, previous: Callable[["sys.UnraisableHookArgs"], object]) -> None:
        self._previous = previous

    def __call__(self, dropped: "sys.UnraisableHookArgs") -> None:
        if not isinstance(dropped.exc_value, Interrupted):
            self._previous(dropped)
            return
        _RaiseAgain.active = True
        try:
            threading.Thread(target=_send_again, daemon=True).start()
        finally:
            _RaiseAgain.active = False  # last of all


def _send_again() -> None:
    """Send the signal to the main thread, which also interrupts a system call, where the platform allows it."""
    time.sleep(RETRY_S)
    while _RaiseAgain.active:
        time.sleep(RETRY_S)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, _received[0])
    else:
        signal.raise_signal(_received[0])
