"""Counters of energy: RAPL of processors, NVML of NVIDIA GPUs, the INA3221 rails of a Jetson.

Nothing is modelled: where no counter can be read, ``NoMeter`` names the counters that are missing.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from bench.machine.gpu_sensors import measured_handle, nvml

POWERCAP = Path("/sys/class/powercap")
HWMON = Path("/sys/class/hwmon")

SAMPLE_S = 0.1
INPUT_RAILS = ("VDD_IN", "VIN", "POM_5V_IN")
"""Rails that feed the whole module: where there is one, the others are parts of it."""


class NoMeter(Exception):
    """No counter can be read; the text names those that are missing."""


class Meter(Protocol):
    """A counter of joules."""

    source: str
    caveat: str

    def joules(self) -> float:
        """Return the joules since some moment in the past; they never fall."""

    def close(self) -> None:
        """Stop reading."""


class RaplMeter:
    """All processor packages, from ``/sys/class/powercap`` (the kernel's Documentation/power/powercap).

    Counters start again at ``max_energy_range_uj``, after some minutes at the earliest; they must be read more often.

    Raises:
        NoMeter: there is none, or only root may read it, as usual since Linux 5.10.
    """

    caveat = "of the processor packages: no memory, no GPU, no losses of the power supply"

    def __init__(self, root: Path = POWERCAP) -> None:
        self._zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _is_package(zone)]
        if not self._zones:
            raise NoMeter(f"no processor package at {root}/intel-rapl:*")
        try:
            self._range_uj = [_number(zone / "max_energy_range_uj") for zone in self._zones]
            self._last_uj = [_number(zone / "energy_uj") for zone in self._zones]
        except (OSError, ValueError) as error:
            raise NoMeter(f"the counters at {root}/intel-rapl:* cannot be read: {error}") from error
        self._total_uj = 0
        self.source = f"RAPL, {len(self._zones)} package" + "s" * (len(self._zones) > 1)

    def joules(self) -> float:
        """See ``Meter``."""
        for index, zone in enumerate(self._zones):
            now = _number(zone / "energy_uj")
            step = now - self._last_uj[index]
            self._total_uj += step if step >= 0 else step + self._range_uj[index]
            self._last_uj[index] = now
        return self._total_uj / 1e6

    def close(self) -> None:
        """See ``Meter``."""


class NvmlMeter:
    """The total-energy counter of the measured GPU (Volta and newer), in mJ.

    Raises:
        NoMeter: there is no such GPU, or it does not count.
    """

    source = "NVML total energy of the GPU"
    caveat = "of the whole GPU, host apart; on A100 and H100 the sensor measures only part of the time"

    def __init__(self) -> None:
        self._nvml, self._handle = nvml(), measured_handle()
        if self._handle is None:
            raise NoMeter("NVML (nvidia-ml-py with an NVIDIA driver) shows no GPU")
        try:
            self.joules()
        except self._nvml.NVMLError as error:
            raise NoMeter(f"this GPU does not count its energy: {error}") from error

    def joules(self) -> float:
        """See ``Meter``."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000

    def close(self) -> None:
        """See ``Meter``."""


class Ina3221Meter:
    """The power rails of a Jetson, from ``/sys/class/hwmon`` (the kernel's Documentation/hwmon/ina3221), added up.

    They report power and not energy, so a thread reads them all the time.

    Raises:
        NoMeter: there are none, or they cannot be read.
    """

    caveat = "power of the rails, sampled ten times a second and added up"

    def __init__(self, root: Path = HWMON, clock: Callable[[], float] = time.monotonic) -> None:
        rails = {label: files for chip in sorted(root.glob("hwmon*")) for label, files in _rails(chip)}
        whole = [label for label in rails if label in INPUT_RAILS]
        self._rails = [rails[label] for label in whole or rails]
        if not self._rails:
            raise NoMeter(f"no INA3221 at {root}/hwmon*")
        self.source = f"INA3221 rails {', '.join(whole or rails)}"
        self._clock, self._joules, self._lock, self._done = clock, 0.0, threading.Lock(), threading.Event()
        try:
            self._last = self._clock(), self.watts()
        except (OSError, ValueError) as error:
            raise NoMeter(f"the INA3221 rails at {root} cannot be read: {error}") from error
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def watts(self) -> float:
        """Return the power now: mV times mA of each rail."""
        return sum(_number(mv) * _number(ma) for mv, ma in self._rails) / 1e6

    def joules(self) -> float:
        """See ``Meter``."""
        with self._lock:
            now, watts = self._clock(), self.watts()
            before, earlier = self._last
            self._joules += (now - before) * (watts + earlier) / 2
            self._last = now, watts
            return self._joules

    def close(self) -> None:
        """See ``Meter``."""
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.joules()


def find_meter(*, gpu: bool, powercap: Path = POWERCAP, hwmon: Path = HWMON) -> Meter:
    """Return the meter for a GPU's rows, or for a processor's. On a Jetson the rails serve both.

    Raises:
        NoMeter: there is none; the text names every one that was tried.
    """
    counter: Callable[[], Meter] = NvmlMeter if gpu else partial(RaplMeter, powercap)
    rails: Callable[[], Meter] = partial(Ina3221Meter, hwmon)
    reasons = []
    for meter in (counter, rails):
        try:
            return meter()
        except NoMeter as reason:
            reasons.append(str(reason))
    raise NoMeter("; ".join(reasons))


def _is_package(zone: Path) -> bool:
    """Return whether this is a package, as ``intel-rapl:0``, and no part of one, as ``intel-rapl:0:0``."""
    try:
        return zone.name.count(":") == 1 and (zone / "name").read_text(encoding="ascii").startswith("package")
    except OSError:
        return False


def _rails(chip: Path) -> list[tuple[str, tuple[Path, Path]]]:
    """Return the label of each connected channel, and the files of its millivolts and milliamperes."""
    rails: list[tuple[str, tuple[Path, Path]]] = []
    try:
        if (chip / "name").read_text(encoding="ascii").strip() != "ina3221":
            return rails
        for channel in (1, 2, 3):
            label = chip / f"in{channel}_label"
            current = chip / f"curr{channel}_input"
            if label.is_file() and current.is_file() and (text := label.read_text(encoding="ascii").strip()) != "NC":
                rails.append((text, (chip / f"in{channel}_input", current)))
    except OSError:
        return rails
    return rails


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
