"""Interrupted and killed benchmarks keep their measurements and leave no process behind."""

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

from bench.harness.worker_process import WorkerProcess, end_all
from tests.support.command_line import ROOT

COORDINATOR = """
import sys

def main():
    from dataclasses import replace
    from functools import partial
    from bench.harness.measure import measure_workloads
    from bench.harness.workload import Workload
    from bench.stats.stopping import StopRule
    from cli.signals import exit_code, install_handlers
    from tests.support.bench_quick import QUICK, check_parity
    from tests.support.bench_sessions import IMAGES, Sleeper

    install_handlers()
    settings = replace(QUICK, rule=StopRule(budget_s=600, half_width=0.0))
    workloads = [Workload(name, partial(Sleeper, 0.001)) for name in "ABC"]
    def progress(text, share=None):
        print(text, flush=True)
    measurements = measure_workloads(workloads, "A", IMAGES, check_parity, settings, progress=progress)
    print("complete", measurements.complete, flush=True)
    print("memory of", [n for n, r in measurements.records.items() if r.memory_mib.get("peak")], flush=True)
    print("exit code", exit_code(), flush=True)

if __name__ == "__main__":  # workers import this file too
    main()
"""


@contextmanager
def started(folder: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Start the coordinator, by the command ``before`` if there is one, and wait for its eighth round."""
    script = folder / "coordinate.py"
    script.write_text(COORDINATOR)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}  # a killed run cannot tidy up
    with subprocess.Popen(
        [*before, sys.executable, str(script)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        line = ""
        while not line.startswith("round 8"):
            line = run.stdout.readline()
            assert line, "it ended before that"
        yield run


def running(workers: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run after a while; an adopting process may leave them as zombies."""
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
    assert running(workers) == []


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
    """The pipe of a worker; Ctrl-C comes during the first wait for an answer."""

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.interrupts = pipe, 1

    def poll(self, timeout_s: float) -> bool:
        if self.interrupts:
            self.interrupts = 0
            raise KeyboardInterrupt
        return bool(self.pipe.poll(timeout_s))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)


def test_the_answer_to_an_interrupted_call_is_not_taken_for_the_next_one(worker: WorkerProcess) -> None:
    worker.call("load", timeout_s=60)
    worker._pipe = Interrupting(worker._pipe)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        worker.call("run_block", 5, timeout_s=60)
    assert set(worker.call("memory", timeout_s=60)) == {"now", "peak"}


ENDED_WITHIN_ANSWER = """
import signal, sys
from pathlib import Path
from bench.harness.worker_process import WorkerProcess
from bench.harness.workload import Workload
from tests.support.bench_sessions import Sleeper, write_inputs

def main():
    folder = Path(sys.argv[1])
    worker = WorkerProcess(Workload("A", Sleeper), write_inputs(folder), {}, folder)
    pipe, read = worker._pipe, worker._pipe._recv

    def interrupted(size):
        piece = read(size)
        signal.raise_signal(signal.SIGINT)
        return piece

    try:
        worker.call("load", timeout_s=60)
        pipe._recv = interrupted
        try:
            worker.call("run_block", 5, timeout_s=60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        pipe._recv = read
        print(sorted(worker.call("memory", timeout_s=60)), flush=True)
    finally:
        worker.end()

if __name__ == "__main__":  # the worker imports this file too
    main()
"""


def test_an_interrupt_in_the_middle_of_an_answer_is_raised_after_it(tmp_path: Path) -> None:
    """An answer is read in two pieces, its length and its content. Real signals need a process of their own."""
    script = tmp_path / "ended.py"
    script.write_text(ENDED_WITHIN_ANSWER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout.splitlines() == ["interrupted", "['now', 'peak']"], run.stderr


def test_ctrl_c_while_a_worker_is_paused_does_not_leave_it_stopped(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = worker._system
    assert system is not None
    suspend = system.suspend

    def interrupted() -> None:
        suspend()
        raise KeyboardInterrupt

    worker.call("load", timeout_s=60)
    monkeypatch.setattr(system, "suspend", interrupted)
    with pytest.raises(KeyboardInterrupt):
        worker.pause()
    monkeypatch.undo()
    with worker.running():
        assert set(worker.call("memory", timeout_s=60)) == {"now", "peak"}


def test_a_second_ctrl_c_does_not_keep_workers_from_being_ended() -> None:
    ended: list[int] = []

    class Worker:
        def end(self) -> None:
            signal.raise_signal(signal.SIGINT)
            ended.append(1)

    handler = signal.getsignal(signal.SIGINT)
    end_all({name: Worker() for name in "ABC"})  # type: ignore[misc]
    assert len(ended) == 3
    assert signal.getsignal(signal.SIGINT) is handler
