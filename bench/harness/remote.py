"""A worker process as the coordinator holds it: asked over a pipe, stopped while others are timed, never left."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from bench.harness.job import Job
from bench.harness.worker import INTERRUPTS, serve

CAN_STOP = hasattr(signal, "SIGSTOP")
QUIESCE_METHOD = "SIGSTOP" if CAN_STOP else "wait 100 ms"
WAIT_S = 0.1
"""Where processes cannot be stopped: spinning thread pools were seen to be clean after it."""
STOP_WITHIN_S = 0.05


class WorkerLost(Exception):
    """The worker crashed, hung, or could not do what it was asked; the text says which, for a reader."""

    def __init__(self, reason: str, *, possible: bool = True) -> None:
        super().__init__(reason)
        self.possible = possible
        """Whether this machine could have done it: False for a library that is missing."""


class Remote:
    """One worker."""

    def __init__(self, job: Job, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._stopped = False
        self._asked = 0
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, job, log, os.getpid()), daemon=True)
        with _environment(environment), _interrupts_held():
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, *arguments: Any, timeout_s: float) -> Any:
        """Return the answer of the worker's ``TimedModel``.

        Raises:
            WorkerLost: it answered with a failure, ended, or did not answer in time (then it is killed).
        """
        self._asked += 1
        answered = 0
        try:
            self._pipe.send((self._asked, method, arguments))
            while answered != self._asked:  # of a call that Ctrl-C has interrupted the answer comes late
                if not self._pipe.poll(timeout_s):
                    self.end()
                    raise WorkerLost(f"no answer to {method} within {timeout_s:g} s")
                with _interrupts_after():  # half an answer would be taken for the beginning of the next
                    answered, outcome, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerLost(self._last_words()) from error
        if outcome != "ok":
            raise WorkerLost(str(value), possible=outcome != "not possible")
        return value

    def quiet(self) -> None:
        """See that it takes no processor time. It must have answered its last call."""
        if not CAN_STOP:
            time.sleep(WAIT_S)
            return
        self._stopped = True  # first: if Ctrl-C comes in between, it is woken once too often, not once too rarely
        self._signal(signal.SIGSTOP)
        deadline = time.perf_counter() + STOP_WITHIN_S
        while process_state(self.pid) in "RS" and time.perf_counter() < deadline:
            time.sleep(0.0005)

    def wake(self) -> None:
        """Undo ``quiet``."""
        if self._stopped:
            self._signal(signal.SIGCONT)
            self._stopped = False

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Within it the worker runs; before and after it is quiet."""
        self.wake()
        try:
            yield
        finally:
            self.quiet()

    def end(self) -> None:
        """End the process, stopped or hanging as it may be."""
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _signal(self, number: int) -> None:
        if self._process.is_alive():
            os.kill(self.pid, number)

    def _last_words(self) -> str:
        """Why it ended, with the last line that it wrote."""
        self._process.join(5)
        code = self._process.exitcode
        if code is None:
            self.end()
            why = "it closed its pipe"
        elif code < 0:
            name = signal.Signals(-code).name
            why = f"it was ended by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
        else:
            why = f"it ended with exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n") if self._log.is_file() else []
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the worker was lost: {why}" + (f" ({said[:200]})" if said else "")


def process_state(pid: int) -> str:
    """Linux's letter for a process's state, T when stopped; ``?`` where it cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "?"


def end_all(remotes: MutableMapping[str, Remote]) -> None:
    """End every worker and forget it. Nothing interrupts it: a process that is stopped never ends by itself."""
    with _interrupts_to(signal.SIG_IGN):
        while remotes:
            remotes.popitem()[1].end()


@contextmanager
def _interrupts_to(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Have ``handler`` deal with interrupts; only a main thread hears them anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # One that was not set by Python can be neither told nor put back.
    before = {number: former for number in INTERRUPTS if (former := signal.getsignal(number)) is not None}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        with _interrupts_held():  # all are put back before one is heard
            for number, former in before.items():
                signal.signal(number, former)


@contextmanager
def _interrupts_after() -> Iterator[None]:
    """What interrupts within it does so at its end."""
    heard: list[int] = []
    try:
        with _interrupts_to(lambda number, _: heard.append(number)):
            yield
    finally:
        for number in heard:
            signal.raise_signal(number)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Interrupts come at its end. A child that is started within it inherits that: none reaches it, from the first."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set variables while a child is started; thread pools read them when their library is loaded."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
