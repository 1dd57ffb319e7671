"""A benchmark that is asked to end, or killed: what it has is kept, and no process is left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.harness.job import Job
from bench.harness.remote import Remote, _interrupts_to, end_all
from bench.harness.worker import INTERRUPTS
from tests.support.bench_subjects import Sleeper, write_inputs
from tests.support.command_line import ROOT

COORDINATOR = """
import sys

def main():
    from dataclasses import replace
    from functools import partial
    from pathlib import Path
    import numpy as np
    from bench.harness.entries import Entrant
    from bench.harness.run import hold_session
    from bench.stats.stopping import StopRule
    from bench.harness.job import Job
    from cli.signals import exit_code, install_handlers
    from tests.support.bench_subjects import Sleeper, write_inputs
    from tests.support.bench_quick import QUICK, judged

    install_handlers()
    inputs = write_inputs(Path(sys.argv[1]))
    settings = replace(QUICK, rule=StopRule(budget_s=600, half_width=0.0))
    entrants = [Entrant(n, Job(partial(Sleeper, 0.001), inputs), "fp32") for n in "ABC"]
    def progress(text, share=None):
        print(text, flush=True)
    session = hold_session(entrants, "A", np.load(inputs), judged, settings, progress=progress)
    print("rounds", session.measured.rounds, "complete", session.complete, flush=True)
    print("memory of", [n for n, e in session.entries.items() if e.memory_mib.get("peak")], flush=True)
    print("exit code", exit_code(), flush=True)

if __name__ == "__main__":  # workers import this file too
    main()
"""


@contextmanager
def started(folder: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """The coordinator, by the command ``before`` if there is one, in a session of its own, in its eighth round."""
    script = folder / "coordinate.py"
    script.write_text(COORDINATOR)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}  # a killed run cannot tidy up
    with subprocess.Popen(
        [*before, sys.executable, str(script), str(folder)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        said = ""
        while not said.startswith("round 8"):
            said = run.stdout.readline()
            assert said, "it ended before that"
        yield run


def left_of(workers: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after a while; who adopts them need not have noticed that they have ended."""
    alive = psutil.wait_procs(workers, timeout=20)[1]
    return [worker for worker in alive if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as run:
        workers = psutil.Process(run.pid).children(recursive=True)
        assert len(workers) >= 3
        if number == signal.SIGKILL:
            run.send_signal(number)
        else:
            os.killpg(run.pid, number)  # as a terminal or `timeout` does: everyone in the group gets it
        rest, _ = run.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert "complete False" in rest
        assert "memory of ['A', 'B', 'C']" in rest
        assert f"exit code {128 + number}" in rest
        assert "Traceback" not in rest
    assert left_of(workers) == []


LEAVING = """
import subprocess, sys

subprocess.Popen(sys.argv[1:], process_group=0)
sys.stdin.read()
"""
"""As a shell with job control: what it starts in the background is a group of its own in the same session."""


def test_a_run_goes_on_when_the_shell_that_started_it_leaves(tmp_path: Path) -> None:
    """At any moment some of its workers are stopped, and a group that is left alone with such a one gets SIGHUP."""
    with started(tmp_path, sys.executable, "-c", LEAVING) as shell:
        [coordinator] = psutil.Process(shell.pid).children()
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.close()
        shell.wait(60)
        with suppress(psutil.NoSuchProcess):
            coordinator.terminate()
        rest = shell.stdout.read()
    assert f"exit code {128 + signal.SIGTERM}" in rest  # which tells of the first signal that came
    assert "complete False" in rest


class Interrupting:
    """The pipe of a worker; Ctrl-C comes while the first answer is waited for."""

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.interrupts = pipe, 1

    def poll(self, timeout_s: float) -> bool:
        if self.interrupts:
            self.interrupts = 0
            raise KeyboardInterrupt
        return bool(self.pipe.poll(timeout_s))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)


def test_the_answer_to_an_interrupted_call_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    remote = Remote(Job(Sleeper, write_inputs(tmp_path)), {}, tmp_path / "log")
    try:
        remote.call("load", timeout_s=60)
        remote._pipe = Interrupting(remote._pipe)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            remote.call("visit", 5, timeout_s=60)
        assert set(remote.call("memory", timeout_s=60)) == {"now", "peak"}
    finally:
        remote.end()


ENDED_WITHIN_ANSWER = """
import signal, sys
from pathlib import Path
from bench.harness.remote import Remote
from bench.harness.job import Job
from tests.support.bench_subjects import Sleeper, write_inputs

def main():
    folder = Path(sys.argv[1])
    remote = Remote(Job(Sleeper, write_inputs(folder)), {}, folder / "log")
    pipe, read = remote._pipe, remote._pipe._recv

    def interrupted(size):
        piece = read(size)
        signal.raise_signal(signal.SIGINT)
        return piece

    try:
        remote.call("load", timeout_s=60)
        pipe._recv = interrupted
        try:
            remote.call("visit", 5, timeout_s=60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        pipe._recv = read
        print(sorted(remote.call("memory", timeout_s=60)), flush=True)
    finally:
        remote.end()

if __name__ == "__main__":  # the worker imports this file too
    main()
"""


def test_an_end_in_the_middle_of_an_answer_comes_after_it(tmp_path: Path) -> None:
    """An answer is read in two pieces: its length, and then itself. (Real signals: in a process of its own.)"""
    script = tmp_path / "ended.py"
    script.write_text(ENDED_WITHIN_ANSWER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout.splitlines() == ["interrupted", "['now', 'peak']"], run.stderr


def test_an_end_while_a_worker_is_being_stopped_does_not_leave_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(Job(Sleeper, write_inputs(tmp_path)), {}, tmp_path / "log")
    stop = remote._signal

    def interrupted(number: int) -> None:
        stop(number)
        raise KeyboardInterrupt

    try:
        remote.call("load", timeout_s=60)
        monkeypatch.setattr(remote, "_signal", interrupted)
        with pytest.raises(KeyboardInterrupt):
            remote.quiet()
        monkeypatch.undo()
        with remote.awake():
            assert set(remote.call("memory", timeout_s=60)) == {"now", "peak"}
    finally:
        remote.end()


def test_an_impatient_ctrl_c_does_not_keep_workers_from_being_ended() -> None:
    ended: list[int] = []

    class Worker:
        def end(self) -> None:
            signal.raise_signal(signal.SIGINT)
            ended.append(1)

    handler = signal.getsignal(signal.SIGINT)
    end_all({name: Worker() for name in "ABC"})  # type: ignore[misc]
    assert len(ended) == 3
    assert signal.getsignal(signal.SIGINT) is handler


def test_all_handlers_are_put_back_though_an_end_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has been put back is heard only when all are."""
    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    sent: list[int] = []

    def raising(number: int, _: object) -> None:
        raise KeyboardInterrupt

    real = signal.signal

    def setting(number: int, handler: Any) -> Any:
        former = real(number, handler)
        if handler is raising and not sent:
            sent.append(number)
            signal.raise_signal(number)
        return former

    def within() -> None:
        with _interrupts_to(signal.SIG_IGN):
            monkeypatch.setattr(signal, "signal", setting)

    try:
        for number in INTERRUPTS:
            real(number, raising)
        with pytest.raises(KeyboardInterrupt):
            within()
        assert [signal.getsignal(number) for number in INTERRUPTS] == [raising] * len(INTERRUPTS)
    finally:
        for number, handler in before.items():
            real(number, handler)
