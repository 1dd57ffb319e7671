"""Real worker processes with tiny sessions: faults become rows, and no process is left behind."""

import os
import re
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.harness.measure import measure_workloads
from bench.harness.measurements import Measurements
from bench.harness.settings import Settings, Timeouts
from bench.harness.worker_process import WorkerLost, WorkerProcess
from bench.harness.workload import HOST_E2E, Workload
from tests.support.bench_quick import QUICK, check_parity, worker_processes
from tests.support.bench_sessions import IMAGES, Broken, Recompiling, Sleeper, missing, write_inputs


def measure(settings: Settings = QUICK, **sessions: Any) -> Measurements:
    workloads = [Workload(name, open_session) for name, open_session in sessions.items()]
    return measure_workloads(workloads, "A", IMAGES, check_parity, settings)


def test_every_fault_becomes_a_row_and_the_rest_goes_on() -> None:
    later = 30
    """Runs until then are loading, parity and warming up."""
    measurements = measure(
        A=Sleeper,
        B=Sleeper,
        missing=missing,
        crash_at_first=partial(Broken, "crash", 1),
        raises=partial(Broken, "raise", 1),
        memory=partial(Broken, "memory", 1),
        nan_at_parity=partial(Broken, "nan", 2),
        wrong=partial(Broken, "wrong by one", 1),
        nan_later=partial(Broken, "nan", later),
        crash_later=partial(Broken, "crash", later),
        killed_later=partial(Broken, "killed", later),
        exit_later=partial(Broken, "exit", later),
        recompiles=Recompiling,
    )
    records, rounds = measurements.records, measurements.rounds
    assert measurements.complete
    assert rounds.completed >= 6
    assert records["A"].faults == records["B"].faults == records["wrong"].faults == []
    assert len(rounds.blocks["B"]) == rounds.completed
    assert records["missing"].not_possible == "sleeper is not installed: no module"

    def reason(name: str) -> str:
        (fault,) = records[name].faults
        return fault

    assert "SIGABRT" in reason("crash_at_first")
    assert "a last word" in reason("crash_at_first")
    assert reason("raises") == "RuntimeError: no kernel for this"
    assert reason("memory") == "out of memory"
    assert reason("nan_at_parity") == "the joints are not finite"
    assert "not finite" in reason("nan_later")
    assert "SIGABRT" in reason("crash_later")
    assert "SIGKILL" in reason("killed_later")
    assert "exit code 7" in reason("exit_later")
    assert reason("recompiles") == "2 compiled graphs, not one"
    assert not any(rounds.blocks[name] for name in ("missing", "crash_at_first", "raises", "nan_at_parity"))
    assert worker_processes() == []


def test_wrong_joints_are_never_timed() -> None:
    measurements = measure_workloads(
        [Workload("A", Sleeper), Workload("B", Sleeper)],
        "A",
        IMAGES,
        lambda workload, joints: {"outcome": "fail" if workload.name == "B" else "pass", "reason": "too far"},
        QUICK,
    )
    assert measurements.records["B"].faults == ["parity fail: too far"]
    assert measurements.rounds.blocks["B"] == []


def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    worker = WorkerProcess(Workload("A", partial(Broken, "hang", 1)), write_inputs(tmp_path), {}, tmp_path)
    with pytest.raises(WorkerLost, match="no answer to load"):
        worker.call("load", timeout_s=0.5)
    assert not psutil.pid_exists(worker.pid)


def test_a_worker_that_ends_while_it_is_started_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(number: int) -> psutil.Process:
        os.kill(number, signal.SIGKILL)
        raise psutil.NoSuchProcess(number)

    monkeypatch.setattr(psutil, "Process", ended)
    worker = WorkerProcess(Workload("A", Sleeper), write_inputs(tmp_path), {}, tmp_path)
    with pytest.raises(WorkerLost, match="SIGKILL"), worker.running():
        worker.call("load", timeout_s=60)
    worker.end()


def test_a_worker_that_hangs_in_a_round_is_a_row_with_its_reason() -> None:
    settings = replace(QUICK, timeouts=Timeouts(answer_s=2))
    measurements = measure(settings, A=Sleeper, B=Sleeper, hangs=partial(Broken, "hang", 30))
    (fault,) = measurements.records["hangs"].faults
    assert re.search(r"no answer to (warm_up|run_block) within \d", fault)
    assert measurements.rounds.blocks["B"]
    assert measurements.complete
    assert worker_processes() == []


def test_a_paused_worker_is_stopped_and_can_be_resumed(worker: WorkerProcess) -> None:
    worker.call("load", timeout_s=60)
    assert psutil.Process(worker.pid).environ()["OMP_NUM_THREADS"] == "3"
    worker.pause()
    process, deadline = psutil.Process(worker.pid), time.monotonic() + 30
    while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:  # on a busy machine it takes long
        time.sleep(0.001)
    assert process.status() == psutil.STATUS_STOPPED
    worker.resume()
    assert len(worker.call("run_block", 5, timeout_s=60)[HOST_E2E]) == 5
    worker.pause()
    worker.end()
    assert not psutil.pid_exists(worker.pid)
    assert os.environ.get("OMP_NUM_THREADS") != "3"
