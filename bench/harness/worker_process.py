"""Worker processes as the coordinator controls them: call over a pipe, pause while others are timed, end."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from bench.harness.worker import INTERRUPTS, serve
from bench.harness.workload import Workload

QUIESCE_METHOD = "SIGSTOP" if hasattr(signal, "SIGSTOP") else "suspend"
STOP_WITHIN_S = 0.05
RUNNING = (psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING)


class WorkerLost(Exception):
    """A worker that crashed, hung, or failed at a call; the text is the reason, for a reader."""

    def __init__(self, reason: str, *, possible: bool = True) -> None:
        super().__init__(reason)
        self.possible = possible
        """True if this machine could have done it: False for a library that is missing."""


class WorkerProcess:
    """One worker process."""

    def __init__(self, workload: Workload, inputs: Path, environment: Mapping[str, str], folder: Path) -> None:
        """Start the process.

        Args:
            workload: the session to load.
            inputs: a .npy of (N, S, S, 3) uint8 RGB.
            environment: variables to set while it starts; thread pools read them when their library is loaded.
            folder: place for the worker's log and temporary files; a worker is killed in the end, and removes none.
        """
        self._log = folder / f"{os.urandom(4).hex()}.log"
        self._paused = False
        self._calls = 0
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        arguments = (child_end, workload, inputs, self._log, os.getpid())
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        with _environment({**environment, "TMPDIR": str(folder)}), _interrupts_blocked():
            self._process.start()
        child_end.close()
        self._system: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):  # it may have ended already; the next call says why
            self._system = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process.pid is not None
        return self._process.pid

    def call(self, method: str, *arguments: Any, timeout_s: float) -> Any:
        """Return the answer of the worker's ``TimedModel``.

        Raises:
            WorkerLost: it answered with a failure, ended, or did not answer in time (then it is killed).
        """
        self._calls += 1
        number = 0
        try:
            self._pipe.send((self._calls, method, arguments))
            while number != self._calls:  # the answer to a call that Ctrl-C has interrupted comes late
                if not self._pipe.poll(timeout_s):
                    self.end()
                    raise WorkerLost(f"no answer to {method} within {timeout_s:g} s")
                with _interrupts_deferred():  # half an answer would be taken for the beginning of the next
                    number, outcome, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerLost(self._exit_reason()) from error
        if outcome != "ok":
            raise WorkerLost(str(value), possible=outcome != "not possible")
        return value

    def pause(self) -> None:
        """Stop the process, so that it takes no processor time. It must have answered its last call."""
        if self._system is None:
            return
        self._paused = True  # first: if Ctrl-C comes in between, it is resumed once too often, not once too rarely
        deadline = time.perf_counter() + STOP_WITHIN_S
        with suppress(psutil.NoSuchProcess):
            self._system.suspend()
            while self._system.status() in RUNNING and time.perf_counter() < deadline:
                time.sleep(0.0005)

    def resume(self) -> None:
        """Undo ``pause``."""
        if self._paused and self._system is not None:
            with suppress(psutil.NoSuchProcess):
                self._system.resume()
            self._paused = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the worker run within the context; pause it before and after."""
        self.resume()
        try:
            yield
        finally:
            self.pause()

    def end(self) -> None:
        """Kill the process, paused or hanging as it may be."""
        self._pipe.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _exit_reason(self) -> str:
        """Return why the process ended, with the last line that it wrote."""
        self._process.join(5)
        code = self._process.exitcode
        if code is None:
            self.end()
            reason = "it closed its pipe"
        elif code < 0:
            name = signal.Signals(-code).name
            reason = f"it was ended by {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")
        else:
            reason = f"it ended with exit code {code}"
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n") if self._log.is_file() else []
        last_line = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the worker was lost: {reason}" + (f" ({last_line[:200]})" if last_line else "")


def end_all(workers: MutableMapping[str, WorkerProcess]) -> None:
    """End and remove every worker. Nothing interrupts it: a process that is stopped never ends by itself."""
    with _interrupts_handled_by(signal.SIG_IGN):
        while workers:
            workers.popitem()[1].end()


@contextmanager
def _interrupts_handled_by(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Let ``handler`` handle interrupts; only a main thread receives them anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler that was not set by Python can be neither read nor restored.
    before = {number: former for number in INTERRUPTS if (former := signal.getsignal(number)) is not None}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        with _interrupts_blocked():  # all are restored before one is delivered
            for number, former in before.items():
                signal.signal(number, former)


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Deliver interrupts at the end of the context."""
    pending: list[int] = []
    try:
        with _interrupts_handled_by(lambda number, _: pending.append(number)):
            yield
    finally:
        for number in pending:
            signal.raise_signal(number)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block interrupts within the context. A child that is started in it inherits that, from its first moment."""
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
    """Set variables while a child is started."""
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
