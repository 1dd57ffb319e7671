"""A run that is asked to end keeps what it has, whoever asks: a terminal, a CI system, a lost connection."""

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130
"""What a shell, and typer, call a command that Ctrl-C has ended."""

AGAIN_S = 0.01
"""By then what could not be interrupted is over, most often; if not, it is asked for once more."""

_ended_by: list[int] = []


class Ended(KeyboardInterrupt):
    """Somebody has asked the run to end.

    It is not KeyboardInterrupt itself: CPython notes that one wherever it leaves code that was given as text (a
    dataclass being made while a library is imported is such code), and ``python -m`` then ends by SIGINT, caught or
    not, and whatever exit code was asked for.
    """


def hear_all_endings() -> None:
    """From now on Ctrl-C, SIGTERM and SIGHUP do the same; one that is ignored, as under ``nohup``, stays ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
            if not isinstance(sys.unraisablehook, _EndAgain):
                sys.unraisablehook = _EndAgain(sys.unraisablehook)


def exit_code() -> int:
    """Of an interrupted run: 128 and the signal's number, as shells count."""
    return 128 + _ended_by[0] if _ended_by else INTERRUPTED


def _interrupt(number: int, _: FrameType | None) -> None:
    _ended_by.append(number)
    if not _EndAgain.asking:
        raise Ended


class _EndAgain:
    """Where Python can raise nothing (in a finalizer, or in what each import calls when its lock goes) an end is lost.

    Then it is asked for once more, from outside.
    """

    asking = False
    """While this hook works: here nothing can be raised either, and nobody would be told."""

    def __init__(self, former: Callable[["sys.UnraisableHookArgs"], object]) -> None:
        self._former = former

    def __call__(self, lost: "sys.UnraisableHookArgs") -> None:
        if not isinstance(lost.exc_value, Ended):
            self._former(lost)
            return
        _EndAgain.asking = True
        try:
            threading.Thread(target=_ask_again, daemon=True).start()
        finally:
            _EndAgain.asking = False  # last of all


def _ask_again() -> None:
    """As whoever ends the run does: what the main thread waits in is interrupted, where there is a way to do that."""
    time.sleep(AGAIN_S)
    while _EndAgain.asking:
        time.sleep(AGAIN_S)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, _ended_by[0])
    else:
        signal.raise_signal(_ended_by[0])
