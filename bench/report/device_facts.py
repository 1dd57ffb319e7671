"""Facts about devices: how one was set when it measured, and what differs between several."""

from collections.abc import Sequence

from bench.report.measurement import Measurement
from bench.report.views import Cell, Line, Table
from bench.results import cells
from bench.results.device_report import DeviceReport, Settings
from export.common.plain import group_names
from export.runtime.processor import limit_note

POWER_MODE, GOVERNOR, PINNED = "power mode", "governor", "pinned clocks"
COMPARED = (POWER_MODE, GOVERNOR, PINNED)
"""Facts in which devices must agree; a page of devices that differ begins with the difference."""
UNKNOWN = "unknown"


def facts_of_report(report: DeviceReport) -> dict[str, str]:
    """Return the properties of a device: hardware, settings, software."""
    device, protocol = report.device, report.protocol
    known: dict[str, str | None] = {
        "board": device.board,
        "L4T": device.l4t,
        "processor": device.processor or UNKNOWN,
        "memory": f"{device.memory_bytes / 2**30:.1f} GiB" if device.memory_bytes else None,
        "GPU": f"{device.gpu.name}, compute capability {device.gpu.compute_capability}"
        if device.gpu
        else f"none: {device.no_gpu}",
        **_settings(report),
        "system": f"{device.system} {device.kernel} {device.machine}",
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
        values = group_names((m.device, m.facts[name]) for m in measurements if name in m.facts)
        if len(values.keys() - {UNKNOWN}) > 1:
            each = "; ".join(f"{value} on {', '.join(devices)}" for value, devices in values.items())
            lines.append(f"measured with different settings, {name}: {each}")
    return tuple(lines)


def facts_table(measurements: Sequence[Measurement]) -> Table:
    """Return a line for each property and a column for each device; what differs comes first."""
    facts = group_names((value, (m.device, name)) for m in measurements for name, value in m.facts.items())
    devices = list(dict.fromkeys(device for device, _ in facts))
    lines = []
    for name in dict.fromkeys(name for _, name in facts):
        values = ["; ".join(facts.get((device, name), ())) or cells.NOTHING for device in devices]
        differs = len(set(values)) > 1
        note = ("differs" if differs else "the same") if len(values) > 1 else ""
        lines.append((not differs, Line((Cell(name, note, "warn" if differs else ""), *map(Cell, values)))))
    ordered = tuple(line for _, line in sorted(lines, key=lambda pair: pair[0]))
    columns = ("property", *(device or "value" for device in devices))
    return Table("Recorded when each device measured.", columns, ordered)


def _settings(report: DeviceReport) -> dict[str, str | None]:
    """Return settings in words; None where the device has no such setting."""
    settings = report.settings
    limit = limit_note(settings.cpu_limit)
    return {
        POWER_MODE: _power_mode(report, settings),
        GOVERNOR: ", ".join(dict.fromkeys(clock.governor or UNKNOWN for clock in settings.cpu_clocks)) or UNKNOWN,
        PINNED: _pinned(settings),
        "CPU clocks": "; ".join(_megahertz(clock.min_khz, clock.max_khz, 1e3) for clock in settings.cpu_clocks) or None,
        "GPU clocks": "; ".join(_megahertz(clock.min_hz, clock.max_hz, 1e6) for clock in settings.gpu_clocks) or None,
        "cores": f"{report.device.usable_cores} usable{limit}",
        "threads": _threads(report),
    }


def _power_mode(report: DeviceReport, settings: Settings) -> str | None:
    if settings.power_mode is not None:
        number = "" if settings.power_mode.number is None else f" ({settings.power_mode.number})"
        return f"{settings.power_mode.name}{number}"
    return UNKNOWN if report.device.l4t else None


def _pinned(settings: Settings) -> str:
    """Return which clocks ``jetson_clocks`` has pinned: both bounds of a clock are equal."""
    cpu = [
        clock.min_khz == clock.max_khz for clock in settings.cpu_clocks if None not in (clock.min_khz, clock.max_khz)
    ]
    gpu = [clock.min_hz == clock.max_hz for clock in settings.gpu_clocks if None not in (clock.min_hz, clock.max_hz)]
    if not cpu and not gpu:
        return UNKNOWN
    return " and ".join(name for name, pinned in (("CPU", cpu), ("GPU", gpu)) if pinned and all(pinned)) or "none"


def _megahertz(low: int | None, high: int | None, unit: float) -> str:
    low_mhz, high_mhz = ("?" if bound is None else f"{bound / unit:.0f}" for bound in (low, high))
    return f"{low_mhz} MHz" if low_mhz == high_mhz else f"{low_mhz} to {high_mhz} MHz"


def _threads(report: DeviceReport) -> str | None:
    """Return the threads of each runtime that ran on the processor."""
    rows = [row for row in report.results if row.threads is not None]
    counts = group_names((str(row.threads), row.runtime.replace("_", "-")) for row in rows)
    return ", ".join(f"{runtime} {' and '.join(numbers)}" for runtime, numbers in counts.items()) or None
