"""Energy meters on files as the kernel writes them; a meter that cannot be read says what is missing."""

from pathlib import Path

import numpy as np
import pytest

from bench.machine import energy_meters, gpu_sensors
from bench.machine.energy_meters import Ina3221Meter, NoMeter, NvmlMeter, RaplMeter, find_meter
from tests.support.bench_sessions import FakeClock
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


def test_packages_are_added_up_without_their_parts(tmp_path: Path) -> None:
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


def test_a_counter_that_wraps_around(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, largest_uj=10_000_000)
    meter = RaplMeter(tmp_path)
    joules = [meter.joules()]
    for now in (9_500_000, 500_000, 400_000):  # twice past the end
        count(counter, now)
        joules.append(meter.joules())
    assert np.diff(joules) == pytest.approx([0.5, 1.0, 9.9])


@pytest.mark.parametrize("planted", ["nothing there", "no range", "no number"])
def test_processors_without_a_readable_counter(tmp_path: Path, planted: str) -> None:
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


def test_rails_are_added_up_where_none_feeds_the_others(tmp_path: Path) -> None:
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


def test_every_missing_meter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_meters, "measured_handle", lambda: None)
    with pytest.raises(NoMeter, match=r"NVML .* shows no GPU; no INA3221 at"):
        find_meter(gpu=True, powercap=tmp_path, hwmon=tmp_path)
    with pytest.raises(NoMeter, match=r"no processor package at .*intel-rapl.*; no INA3221 at"):
        find_meter(gpu=False, powercap=tmp_path, hwmon=tmp_path)
    jetson(tmp_path, VDD_IN=1_000)
    meter = find_meter(gpu=True, powercap=tmp_path, hwmon=tmp_path)
    meter.close()
    assert isinstance(meter, Ina3221Meter)
