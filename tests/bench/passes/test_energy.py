"""Joules per inference: gross and net, in the worker that was timed."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from bench.harness.benchmark import has_energy_meter, make_settings
from bench.harness.measure import measure_workloads
from bench.harness.measurements import WorkloadRecord
from bench.harness.options import BenchOptions
from bench.harness.workload import Workload
from bench.machine.energy_meters import NoMeter
from bench.passes.energy import EnergyPlan, measure_energy
from bench.results.result import Energy
from tests.support.bench_quick import QUICK, check_parity
from tests.support.bench_sessions import IMAGES, FakeClock, Sleeper


class Steady:
    """20 W while something runs, 5 W while idle."""

    source, caveat = "steady", "planted"

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.counted, self.last, self.watts = clock, 1000.0, clock.now, 5.0

    def joules(self) -> float:
        self.counted += self.watts * (self.clock.now - self.last)
        self.last = self.clock.now
        return self.counted

    def close(self) -> None:
        pass


def test_gross_and_net() -> None:
    clock = FakeClock()
    meter = Steady(clock)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    def keep_going(seconds: float) -> tuple[int, float]:
        meter.joules()
        meter.watts = 20.0
        sleep(seconds)
        meter.joules()
        meter.watts = 5.0
        return 300, seconds

    def stand_still(seconds: float) -> tuple[int, float]:
        sleep(seconds)
        return 1, seconds

    energy = measure_energy(meter, EnergyPlan(30, 10), nullcontext, keep_going, clock=clock, sleep=sleep)
    assert (energy["gross_j"], energy["net_j"]) == (pytest.approx(2.0), pytest.approx(1.5))
    assert (energy["idle_w"], energy["power_w"], energy["seconds"]) == (5.0, 20.0, 30.0)
    Energy.model_validate(energy)
    meter.watts = 0.0
    with pytest.raises(ValueError, match="steady counted nothing in 30 s"):
        measure_energy(meter, EnergyPlan(30, 10), nullcontext, stand_still, clock=clock, sleep=sleep)


class WallClockMeter:
    """10 W, always."""

    source, caveat = "planted", "planted"

    def joules(self) -> float:
        import time

        return 10 * time.monotonic()

    def close(self) -> None:
        pass


def measure(find: object) -> WorkloadRecord:
    """Return the record of a workload that was measured with this meter."""
    settings = replace(QUICK, energy=EnergyPlan(busy_s=0.2, idle_s=0.05), find_meter=find)  # type: ignore[arg-type]
    workloads = [Workload(name, Sleeper) for name in "AB"]
    return measure_workloads(workloads, "A", IMAGES, check_parity, settings).records["B"]


def test_the_pass_runs_in_the_worker_that_was_timed() -> None:
    record = measure(lambda gpu: WallClockMeter())
    assert record.energy is not None
    assert record.energy["inferences"] > 10
    assert record.energy["power_w"] == pytest.approx(10, rel=0.5)  # counter and clock are read one after the other
    assert record.energy["seconds"] >= 0.2
    assert record.faults == []


def no_meter(gpu: bool) -> WallClockMeter:
    raise NoMeter("planted: no counter")


def test_without_a_counter_there_is_a_reason_and_no_fault() -> None:
    record = measure(no_meter)
    assert (record.energy, record.energy_reason, record.faults) == (None, "planted: no counter", [])


def test_publish_measures_energy_only_with_a_meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(options: BenchOptions) -> bool:
        return make_settings(options, tmp_path, []).energy is not None

    monkeypatch.setattr("bench.harness.benchmark.find_meter", lambda gpu: no_meter(gpu))
    assert not has_energy_meter(True)
    assert not planned(BenchOptions(mode="publish"))
    assert planned(BenchOptions(energy=True))  # then each row says why there is none
    monkeypatch.setattr("bench.harness.benchmark.find_meter", lambda gpu: WallClockMeter())
    assert planned(BenchOptions(mode="publish"))
    assert not planned(BenchOptions())
