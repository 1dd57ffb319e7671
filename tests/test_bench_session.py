"""Real worker processes with tiny backends: faults become rows, and nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench.entries import Entrant, Settings, Timeouts
from bench.remote import Remote, WorkerLost, end_all, process_state
from bench.session import Session, hold_session
from bench.steadiness import WarmUpRule
from bench.stopping import StopRule
from bench.worker import HOST_E2E, Job
from tests.bench_subjects import Broken, Recompiling, Sleeper, missing, write_inputs
from tests.command_line import ROOT

QUICK = Settings(
    threads=1,
    rule=StopRule(half_width=10.0, quantile=0.5, first_look=6),
    warm_up=WarmUpRule(minimum_s=0.02, cap_s=0.2, window_s=0.01),
    timeouts=Timeouts(load_s=120, answer_s=60),
)
"""As few rounds as have an interval, however wide: a busy machine is no failure."""


def judged(name: str, joints: Any) -> Mapping[str, Any]:
    good = np.ptp(joints, axis=0).min() > 0 and float(joints[0, 0, 0]) < 300
    return {"outcome": "pass" if good else "fail", "reason": "as told"}


def hold(folder: Path, **backends: Any) -> Session:
    inputs = write_inputs(folder)
    entrants = [Entrant(name, Job(made, inputs), "fp32") for name, made in backends.items()]
    return hold_session(entrants, "A", np.load(inputs), judged, QUICK)


def children() -> list[psutil.Process]:
    """Workers of this process that still exist, the resource tracker of multiprocessing apart."""
    found = psutil.Process().children(recursive=True)
    return [child for child in found if "resource_tracker" not in " ".join(child.cmdline())]


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
        assert process_state(remote.pid) == "T"
        remote.wake()
        assert len(remote.call("visit", 5, timeout_s=60)[HOST_E2E]) == 5
        remote.quiet()
    finally:
        remote.end()
    assert not psutil.pid_exists(remote.pid)
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "3"


COORDINATOR = """
import sys

def main():
    from dataclasses import replace
    from functools import partial
    from pathlib import Path
    import numpy as np
    from bench.entries import Entrant
    from bench.session import hold_session
    from bench.stopping import StopRule
    from bench.worker import Job
    from cli.endings import hear_all_endings
    from tests.bench_subjects import Sleeper, write_inputs
    from tests.test_bench_session import QUICK, judged

    hear_all_endings()
    inputs = write_inputs(Path(sys.argv[1]))
    settings = replace(QUICK, rule=StopRule(budget_s=600, half_width=0.0))
    entrants = [Entrant(n, Job(partial(Sleeper, 0.001), inputs), "fp32") for n in "ABC"]
    def progress(text, share=None):
        print(text, flush=True)
    session = hold_session(entrants, "A", np.load(inputs), judged, settings, progress=progress)
    print("rounds", session.measured.rounds, "complete", session.complete, flush=True)
    print("memory of", [n for n, e in session.entries.items() if e.memory_mib["peak"] > 0], flush=True)

if __name__ == "__main__":  # workers import this file too
    main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "coordinate.py"
    script.write_text(COORDINATOR)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}  # a killed run cannot tidy up
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        said = ""
        for line in run.stdout:
            said = line
            if line.startswith("round 8"):
                break
        assert said.startswith("round 8"), said
        workers = psutil.Process(run.pid).children(recursive=True)
        assert len(workers) >= 3
        if number == signal.SIGKILL:
            run.send_signal(number)
        else:
            os.killpg(run.pid, number)  # as a terminal or `timeout` does: everyone in the group gets it
        rest = run.stdout.read()
        run.wait(30)
    if number != signal.SIGKILL:
        assert "complete False" in rest
        assert "memory of ['A', 'B', 'C']" in rest
        assert "Traceback" not in rest
    deadline = time.monotonic() + 20
    while [w for w in workers if w.is_running()] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [w for w in workers if w.is_running() and w.status() != psutil.STATUS_ZOMBIE] == []


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


def test_the_timing_loop_adds_less_than_a_microsecond(tmp_path: Path) -> None:
    remote = Remote(Job(Sleeper, write_inputs(tmp_path)), {}, tmp_path / "log")
    try:
        assert min(remote.call("overhead_ns", timeout_s=60) for _ in range(5)) < 5000
    finally:
        remote.end()
