"""Facts about devices: how one was set when it measured, and what differs between several."""

from collections.abc import Sequence

from bench import cells
from bench.device_report import DeviceReport, Settings
from bench.report.measurement import Measurement
from bench.report.views import Cell, Line, Table

POWER_MODE, GOVERNOR, PINNED = "power mode", "governor", "pinned clocks"
COMPARED = (POWER_MODE, GOVERNOR, PINNED)
"""Where devices differ in these, their page says so before anything else."""
UNKNOWN = "unknown"


def facts_of_report(report: DeviceReport) -> dict[str, str]:
    """Return the properties of a device: hardware, settings, software."""
    of, protocol = report.device, report.protocol
    known: dict[str, str | None] = {
        "board": of.board,
        "L4T": of.l4t,
        "processor": of.processor or UNKNOWN,
        "memory": f"{of.memory_bytes / 2**30:.1f} GiB" if of.memory_bytes else None,
        "GPU": f"{of.gpu.name}, compute capability {of.gpu.compute_capability}" if of.gpu else f"none: {of.no_gpu}",
        **_settings(report),
        "system": f"{of.system} {of.kernel} {of.machine}",
        "measured": f"{report.created}, {f'up to {protocol.rounds} rounds' if protocol else 'parity alone'}",
        "bundle": report.bundle.id,
        "goldens": report.bundle.golden_source,
        **{("Python" if name == "python" else name): version for name, version in report.versions.items()},
    }
    return {name: value for name, value in known.items() if value}


def different_settings(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Return a line for each of ``COMPARED`` in which devices differ; the unknown alone makes no difference."""
    lines = []
    for name in COMPARED:
        values: dict[str, dict[str, None]] = {}
        for one in measurements:
            if name in one.facts:
                values.setdefault(one.facts[name], {})[one.device] = None
        if len(values.keys() - {UNKNOWN}) > 1:
            each = "; ".join(f"{value} on {', '.join(devices)}" for value, devices in values.items())
            lines.append(f"measured with different settings, {name}: {each}")
    return tuple(lines)


def facts_table(measurements: Sequence[Measurement]) -> Table:
    """Return a line for each property and a column for each device; what differs comes first."""
    facts: dict[str, dict[str, dict[str, None]]] = {}
    for one in measurements:
        for name, value in one.facts.items():
            facts.setdefault(one.device, {}).setdefault(name, {})[value] = None
    properties = dict.fromkeys(name for of in facts.values() for name in of)
    lines = []
    for name in properties:
        values = ["; ".join(of.get(name, {})) or cells.NOTHING for of in facts.values()]
        differs = len(set(values)) > 1
        note = ("differs" if differs else "the same") if len(values) > 1 else ""
        lines.append((not differs, Line((Cell(name, note, "warn" if differs else ""), *map(Cell, values)))))
    ordered = tuple(line for _, line in sorted(lines, key=lambda of: of[0]))
    return Table("Recorded when each device measured.", ("property", *facts), ordered)


def _settings(report: DeviceReport) -> dict[str, str | None]:
    """Return settings in words; None where the device has no such setting."""
    of = report.settings
    if of is None:  # written before settings were recorded
        cores, governor = f"{report.device.usable_cores} usable", report.device.governor or UNKNOWN
        return {POWER_MODE: UNKNOWN, GOVERNOR: governor, PINNED: UNKNOWN, "cores": cores}
    limit = f", limited to the time of {of.cpu_limit:g} processors" if of.cpu_limit is not None else ""
    return {
        POWER_MODE: _power_mode(report, of),
        GOVERNOR: ", ".join(dict.fromkeys(clock.governor or UNKNOWN for clock in of.cpu_clocks)) or UNKNOWN,
        PINNED: _pinned(of),
        "CPU clocks": "; ".join(_megahertz(clock.min_khz, clock.max_khz, 1e3) for clock in of.cpu_clocks) or None,
        "GPU clocks": "; ".join(_megahertz(clock.min_hz, clock.max_hz, 1e6) for clock in of.gpu_clocks) or None,
        "cores": f"{report.device.usable_cores} usable{limit}",
        "threads": _threads(report),
    }


def _power_mode(report: DeviceReport, of: Settings) -> str | None:
    if of.power_mode is not None:
        number = "" if of.power_mode.number is None else f" ({of.power_mode.number})"
        return f"{of.power_mode.name}{number}"
    return UNKNOWN if report.device.l4t else None


def _pinned(of: Settings) -> str:
    """Return which clocks ``jetson_clocks`` has pinned: both bounds of a clock are equal."""
    cpu = [clock.min_khz == clock.max_khz for clock in of.cpu_clocks if None not in (clock.min_khz, clock.max_khz)]
    gpu = [clock.min_hz == clock.max_hz for clock in of.gpu_clocks if None not in (clock.min_hz, clock.max_hz)]
    if not cpu and not gpu:
        return UNKNOWN
    return " and ".join(name for name, pinned in (("CPU", cpu), ("GPU", gpu)) if pinned and all(pinned)) or "none"


def _megahertz(low: int | None, high: int | None, unit: float) -> str:
    low_mhz, high_mhz = ("?" if bound is None else f"{bound / unit:.0f}" for bound in (low, high))
    return f"{low_mhz} MHz" if low_mhz == high_mhz else f"{low_mhz} to {high_mhz} MHz"


def _threads(report: DeviceReport) -> str | None:
    """Return the threads of each runtime that ran on the processor."""
    counts: dict[str, dict[str, None]] = {}
    for row in report.results:
        if row.threads is not None:
            counts.setdefault(row.runtime.replace("_", "-"), {})[str(row.threads)] = None
    return ", ".join(f"{runtime} {' and '.join(of)}" for runtime, of in counts.items()) or None
