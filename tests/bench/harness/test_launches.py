"""Several launches of real workers: each starts, checks and times afresh."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.harness.measure import measure_workloads
from bench.harness.measurements import Measurements
from bench.harness.workload import Workload
from bench.stats.stopping import StopRule
from tests.bench.harness.test_rounds import rounds_of_launches
from tests.support.bench_quick import QUICK, check_parity, worker_processes
from tests.support.bench_sessions import IMAGES, BrokenLater, Counted, Sleeper

THREE = replace(QUICK, launches=3, rule=StopRule(half_width=10.0, quantile=0.5, first_look=6))


def measure(progress: Any = None, **sessions: Any) -> Measurements:
    workloads = [Workload(name, open_session) for name, open_session in sessions.items()]
    progress = progress or (lambda text, share=None: None)
    return measure_workloads(workloads, "A", IMAGES, check_parity, THREE, progress=progress)


def test_every_launch_has_fresh_workers_with_a_parity_check(tmp_path: Path) -> None:
    checked: list[str] = []

    def check(workload: Workload, joints: Any) -> Mapping[str, Any]:
        checked.append(workload.name)
        return check_parity(workload, joints)

    workloads = [Workload("A", Sleeper), Workload("B", partial(Counted, tmp_path))]
    measurements = measure_workloads(workloads, "A", IMAGES, check, replace(THREE, cold_starts=4))
    assert checked == ["A", "B"] * 3
    assert len(list(tmp_path.iterdir())) == 4  # three launches, and one more cold start
    record = measurements.records["B"]
    assert (record.faults, len(record.cold)) == ([], 3)
    assert {block.launch for block in measurements.rounds.blocks["B"]} == {0, 1, 2}
    assert measurements.complete
    assert worker_processes() == []


def test_a_failure_in_a_later_launch_is_a_row_with_its_reason(tmp_path: Path) -> None:
    measurements = measure(
        A=Sleeper,
        B=Sleeper,
        load=partial(BrokenLater, tmp_path / "load", 1, "raise", 1),
        rounds=partial(BrokenLater, tmp_path / "rounds", 2, "crash", 30),
    )
    (fault,) = measurements.records["load"].faults
    assert fault == "launch 2 of 3: RuntimeError: no kernel for this"
    (fault,) = measurements.records["rounds"].faults
    assert fault.startswith("launch 3 of 3: ")  # while warming up, or in a round
    assert "SIGABRT" in fault
    assert rounds_of_launches(measurements.rounds, "load")[1:] == [0, 0]
    assert min(rounds_of_launches(measurements.rounds)) > 0
    assert measurements.complete
    assert worker_processes() == []


def test_without_the_reference_there_is_no_further_launch(tmp_path: Path) -> None:
    measurements = measure(A=partial(BrokenLater, tmp_path / "A", 1, "raise", 1), B=Sleeper)
    assert measurements.records["A"].faults == ["launch 2 of 3: RuntimeError: no kernel for this"]
    assert rounds_of_launches(measurements.rounds)[1:] == [0, 0]
    assert len(measurements.rounds.blocks["B"]) > 0


@pytest.mark.parametrize("step", ["launch 2 of 3: loading B", "launch 2 of 3: round"])
def test_ctrl_c_in_the_second_launch_keeps_the_first(step: str) -> None:
    def progress(text: str, share: float | None = None) -> None:
        if text.startswith(step):
            raise KeyboardInterrupt

    measurements = measure(progress, A=Sleeper, B=Sleeper)
    assert not measurements.complete
    assert rounds_of_launches(measurements.rounds)[0] > 0
    assert rounds_of_launches(measurements.rounds)[1:] == [0, 0]
    assert measurements.rounds.stop is None  # the first launch's stop is not the benchmark's
    assert measurements.records["B"].faults == []
    assert worker_processes() == []
