"""Questions to NVML, and the share of its answers in a row's quality."""

import inspect

import pynvml
import pytest

from bench.machine import gpu_sensors
from bench.machine.environment import share_with
from tests.support.fake_nvml import FakeNvml


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    library = FakeNvml()
    monkeypatch.setattr(gpu_sensors, "nvml", lambda: library)
    monkeypatch.setattr(gpu_sensors, "first_bus_id", lambda: "0000:01:00.0")
    return library


def test_the_fake_has_the_signatures_of_the_real_library() -> None:
    functions = [name for name in vars(FakeNvml) if name.startswith("nvml")]
    assert len(functions) > 10
    for name in functions:
        real, ours = inspect.signature(getattr(pynvml, name)), inspect.signature(getattr(FakeNvml, name))
        needed = [p for p in real.parameters.values() if p.default is p.empty]
        assert len(needed) <= len(ours.parameters) - 1 <= len(real.parameters), name


def test_the_bits_are_those_of_the_library() -> None:
    thermal = pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwSlowdown
    thermal |= pynvml.nvmlClocksEventReasonHwThermalSlowdown | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
    assert thermal == gpu_sensors.THROTTLED
    assert pynvml.nvmlClocksEventReasonSwPowerCap == gpu_sensors.POWER_CAPPED


def test_one_reading(fake: FakeNvml) -> None:
    fake.reasons = 0x20
    (reading,) = gpu_sensors.gpu_reading()
    assert (reading["sm_clock_mhz"], reading["temperature_c"], reading["throttled"]) == (2520, 61, True)
    (gpu,) = gpu_sensors.gpus()
    assert (gpu["power_limit_w"], gpu["compute_capability"], gpu["mig"], gpu["other_processes"]) == (450, [8, 9], 0, 0)
    assert gpu_sensors.measured_handle() == "gpu at 0000:01:00.0"
    assert gpu_sensors.sm_clock_mhz() == 2520


def test_unsupported_values_are_none_and_no_error(fake: FakeNvml) -> None:
    fake.lacks |= {name for name in vars(FakeNvml) if "Get" in name}
    (gpu,), (reading,) = gpu_sensors.gpus(), gpu_sensors.gpu_reading()
    assert (gpu["power_limit_w"], gpu["mig"], reading["clocks_event_reasons"]) == (None, None, None)
    assert (reading["throttled"], reading["throttled_counter"]) == (False, None)
    assert gpu_sensors.measured_handle() == "gpu 0"  # as on a Jetson, whose GPU is on no bus


def test_the_counter_shows_a_power_cap_that_is_over_when_the_gpu_rests(fake: FakeNvml) -> None:
    readings = []
    for held_ns in (7, 7, 8, 9):
        fake.violations[pynvml.NVML_PERF_POLICY_POWER] = held_ns
        readings.append({"gpus": gpu_sensors.gpu_reading()})
    assert share_with(readings, "power_capped") == 0.5
    assert share_with(readings, "throttled") == 0.0


def test_without_a_library_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_sensors, "nvml", lambda: None)
    assert (gpu_sensors.gpus(), gpu_sensors.gpu_reading(), gpu_sensors.other_processes()) == ([], [], 0)
    assert gpu_sensors.sm_clock_mhz() is None
