"""Real worker processes with tiny backends: faults become rows, and nothing is left behind."""

import os
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench.harness.entries import Entrant, Timeouts
from bench.harness.job import HOST_E2E, Job
from bench.harness.remote import Remote, WorkerLost, process_state
from bench.harness.run import Session, hold_session
from tests.support.bench_quick import QUICK, children, judged
from tests.support.bench_subjects import Broken, Recompiling, Sleeper, missing, write_inputs


def hold(folder: Path, **backends: Any) -> Session:
    inputs = write_inputs(folder)
    entrants = [Entrant(name, Job(made, inputs), "fp32") for name, made in backends.items()]
    return hold_session(entrants, "A", np.load(inputs), judged, QUICK)


def test_every_fault_becomes_a_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    later = 30
    """Runs until then are loading, parity and warming up."""
    session = hold(
        tmp_path,
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
    entries, measured = session.entries, session.measured
    assert session.complete
    assert measured.rounds >= 6
    assert entries["A"].faults == entries["B"].faults == []
    assert len(measured.visits["B"]) == measured.rounds
    assert entries["missing"].not_possible == "sleeper is not installed: no module"

    def reason(name: str) -> str:
        (fault,) = entries[name].faults
        return fault

    assert "SIGABRT" in reason("crash_at_first")
    assert "a last word" in reason("crash_at_first")
    assert reason("raises") == "RuntimeError: no kernel for this"
    assert reason("memory") == "out of memory"
    assert reason("nan_at_parity") == "the joints are not finite"
    assert "not finite" in reason("nan_later")
    assert "SIGABRT" in reason("crash_later")
    assert "SIGKILL, perhaps for lack of memory" in reason("killed_later")
    assert "exit code 7" in reason("exit_later")
    assert reason("recompiles") == "2 compiled graphs, not one"
    assert not any(measured.visits[name] for name in ("missing", "crash_at_first", "raises", "nan_at_parity"))
    assert children() == []


def test_wrong_joints_are_never_timed(tmp_path: Path) -> None:
    session = hold(tmp_path, A=Sleeper, B=partial(Broken, "wrong", 1), C=Sleeper)
    assert session.entries["B"].faults == []  # one off is within what this judge allows
    session = hold_session(
        [Entrant(n, Job(Sleeper, write_inputs(tmp_path)), "fp32") for n in "AB"],
        "A",
        np.load(write_inputs(tmp_path)),
        lambda name, joints: {"outcome": "fail" if name == "B" else "pass", "reason": "too far"},
        QUICK,
    )
    assert session.entries["B"].faults == ["parity fail: too far"]
    assert session.measured.visits["B"] == []


def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    remote = Remote(Job(partial(Broken, "hang", 1), write_inputs(tmp_path)), {}, tmp_path / "log")
    with pytest.raises(WorkerLost, match="no answer to load"):
        remote.call("load", timeout_s=0.5)
    assert not psutil.pid_exists(remote.pid)


def test_one_that_hangs_in_a_round_is_a_row_with_its_reason(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    backends = {"A": Sleeper, "B": Sleeper, "hangs": partial(Broken, "hang", 30)}
    entrants = [Entrant(name, Job(made, inputs), "fp32") for name, made in backends.items()]  # type: ignore[arg-type]
    settings = replace(QUICK, timeouts=Timeouts(answer_s=2))
    session = hold_session(entrants, "A", np.load(inputs), judged, settings)
    (fault,) = session.entries["hangs"].faults
    assert re.search(r"no answer to (warm_up|visit) within \d", fault)
    assert session.measured.visits["B"]
    assert session.complete
    assert children() == []


def test_an_idle_worker_is_stopped_and_comes_back(tmp_path: Path) -> None:
    remote = Remote(Job(Sleeper, write_inputs(tmp_path)), {"OMP_NUM_THREADS": "3"}, tmp_path / "log")
    try:
        remote.call("load", timeout_s=60)
        assert psutil.Process(remote.pid).environ()["OMP_NUM_THREADS"] == "3"
        remote.quiet()
        deadline = time.monotonic() + 30
        while process_state(remote.pid) != "T" and time.monotonic() < deadline:  # on a busy machine it takes a while
            time.sleep(0.001)
        assert process_state(remote.pid) == "T"
        remote.wake()
        assert len(remote.call("visit", 5, timeout_s=60)[HOST_E2E]) == 5
        remote.quiet()
    finally:
        remote.end()
    assert not psutil.pid_exists(remote.pid)
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "3"


class Text(str):
    """As torch's version is: a string for which whoever unpickles it has to import its module."""


class Versioned(Sleeper):
    def facts(self) -> dict[str, Any]:
        return {"problems": [], "versions": {"sleeper": Text("1.0")}}


def test_facts_are_plain_data_so_that_the_coordinator_imports_nothing_for_them(tmp_path: Path) -> None:
    session = hold(tmp_path, A=Sleeper, B=Versioned)
    loaded = session.entries["B"].loaded
    assert loaded is not None
    assert type(loaded.facts["versions"]["sleeper"]) is str


def test_the_timing_loop_adds_less_than_a_microsecond(tmp_path: Path) -> None:
    remote = Remote(Job(Sleeper, write_inputs(tmp_path)), {}, tmp_path / "log")
    try:
        assert min(remote.call("overhead_ns", timeout_s=60) for _ in range(5)) < 5000
    finally:
        remote.end()
