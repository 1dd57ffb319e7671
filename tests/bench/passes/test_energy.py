"""Joules: counters are read from files as the kernel lays them out; what cannot be read says what was looked for."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.harness.benchmark import PUBLISH_MODE, QUICK_MODE, Options, has_energy_meter, make_settings
from bench.harness.measure import measure_workloads
from bench.harness.measurements import WorkloadRecord
from bench.harness.workload import Workload
from bench.machine import energy_meters, gpu_sensors
from bench.machine.energy_meters import Ina3221Meter, NoMeter, NvmlMeter, RaplMeter, find_meter
from bench.passes.energy import EnergyPlan, measure_energy
from bench.results.result import Energy
from tests.support.bench_quick import QUICK, check_parity
from tests.support.bench_sessions import IMAGES, FakeClock, Sleeper
from tests.support.fake_nvml import FakeNvml


def zone(root: Path, name: str, called: str, uj: int, largest_uj: int = 262_143_328_850) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{called}\n")
    (folder / "energy_uj").write_text(f"{uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest_uj}\n")
    return folder


def count(folder: Path, uj: int) -> None:
    (folder / "energy_uj").write_text(f"{uj}\n")


def test_packages_are_added_up_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    first, second = (
        zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        zone(tmp_path, "intel-rapl:1", "package-1", 5),
    )
    for name, called in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")):
        count(zone(tmp_path, name, called, 0), 10**9)
    meter = RaplMeter(tmp_path)
    before = meter.joules()
    count(first, 3_500_000)
    count(second, 500_005)
    assert meter.joules() - before == pytest.approx(3.0)
    assert meter.source == "RAPL, 2 packages"


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, largest_uj=10_000_000)
    meter = RaplMeter(tmp_path)
    seen = [meter.joules()]
    for now in (9_500_000, 500_000, 400_000):  # twice past the end
        count(counter, now)
        seen.append(meter.joules())
    assert np.diff(seen) == pytest.approx([0.5, 1.0, 9.9])


@pytest.mark.parametrize("planted", ["nothing there", "no range", "no number"])
def test_processors_that_tell_nothing(tmp_path: Path, planted: str) -> None:
    if planted != "nothing there":
        counter = zone(tmp_path, "intel-rapl:0", "package-0", 1)
        (counter / "max_energy_range_uj").unlink() if planted == "no range" else (counter / "energy_uj").write_text("?")
    with pytest.raises(NoMeter, match="no processor package" if planted == "nothing there" else "cannot be read"):
        RaplMeter(tmp_path)


def jetson(root: Path, **milliwatts: int) -> dict[str, Path]:
    """Rails at 5 V."""
    chip, currents = root / "hwmon3", {}
    chip.mkdir(parents=True)
    (chip / "name").write_text("ina3221\n")
    for channel, (label, mw) in enumerate(milliwatts.items(), start=1):
        (chip / f"in{channel}_label").write_text(f"{label}\n")
        (chip / f"in{channel}_input").write_text("5000\n")
        currents[label] = chip / f"curr{channel}_input"
        currents[label].write_text(f"{mw // 5}\n")
    (chip / "in7_label").write_text("sum of shunt voltages\n")
    other = root / "hwmon0"
    other.mkdir()
    (other / "name").write_text("tegra_thermal\n")
    return currents


def test_rails_of_a_jetson(tmp_path: Path) -> None:
    currents, clock = jetson(tmp_path, VDD_IN=10_000, VDD_CPU_GPU_CV=4_000, VDD_SOC=2_000), FakeClock()
    meter = Ina3221Meter(tmp_path, clock)
    try:
        assert (meter.source, meter.watts()) == ("INA3221 rails VDD_IN", 10.0)
        before = meter.joules()
        clock.now = 2.0
        assert meter.joules() - before == pytest.approx(20.0)
        currents["VDD_IN"].write_text("4000\n")  # 20 W
        clock.now = 3.0
        assert meter.joules() - before == pytest.approx(20 + 15)
    finally:
        meter.close()


def test_rails_are_added_where_none_feeds_the_others(tmp_path: Path) -> None:
    jetson(tmp_path, VDD_GPU_SOC=6_000, VDD_CPU_CV=3_000, NC=50_000)
    meter = Ina3221Meter(tmp_path, FakeClock())
    meter.close()
    assert (meter.watts(), meter.source) == (9.0, "INA3221 rails VDD_GPU_SOC, VDD_CPU_CV")


def test_a_gpu_counts_in_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml()
    for module in (gpu_sensors, energy_meters):
        monkeypatch.setattr(module, "nvml", lambda: fake)
    meter = NvmlMeter()
    before = meter.joules()
    fake.energy_mj += 12_500
    assert meter.joules() - before == pytest.approx(12.5)
    fake.lacks.add("nvmlDeviceGetTotalEnergyConsumption")
    with pytest.raises(NoMeter, match="does not count its energy"):
        NvmlMeter()


def test_all_that_was_looked_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_meters, "measured_handle", lambda: None)
    with pytest.raises(NoMeter, match=r"NVML .* shows no GPU; no INA3221 at"):
        find_meter(gpu=True, powercap=tmp_path, hwmon=tmp_path)
    with pytest.raises(NoMeter, match=r"no processor package at .*intel-rapl.*; no INA3221 at"):
        find_meter(gpu=False, powercap=tmp_path, hwmon=tmp_path)
    jetson(tmp_path, VDD_IN=1_000)
    meter = find_meter(gpu=True, powercap=tmp_path, hwmon=tmp_path)
    meter.close()
    assert isinstance(meter, Ina3221Meter)


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

    found = measure_energy(meter, EnergyPlan(30, 10), nullcontext, keep_going, clock=clock, sleep=sleep)
    assert (found["gross_j"], found["net_j"]) == (pytest.approx(2.0), pytest.approx(1.5))
    assert (found["idle_w"], found["power_w"], found["seconds"]) == (5.0, 20.0, 30.0)
    Energy.model_validate(found)
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


def test_publish_measures_energy_only_where_something_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(options: Options) -> bool:
        return make_settings(options, tmp_path, []).energy is not None

    monkeypatch.setattr("bench.harness.benchmark.find_meter", lambda gpu: no_meter(gpu))
    assert not has_energy_meter(True)
    assert not planned(Options(PUBLISH_MODE))
    assert planned(Options(QUICK_MODE, energy=True))  # then each row says why there is none
    monkeypatch.setattr("bench.harness.benchmark.find_meter", lambda gpu: WallClockMeter())
    assert planned(Options(PUBLISH_MODE))
    assert not planned(Options(QUICK_MODE))
