"""How devices were set when they measured, in words: a latency is of one power mode, governor and number of threads."""

from collections.abc import Sequence

from bench.device_report import DeviceReport, Settings
from bench.report.devices.told import Told

POWER_MODE, GOVERNOR, PINNED = "power mode", "governor", "pinned clocks"
COMPARED = (POWER_MODE, GOVERNOR, PINNED)
"""Where devices differ in these, their page says so before anything else."""
NOT_RECORDED, NOT_TOLD, NOT_KNOWN = "not recorded", "not told", "not known"


def in_words(report: DeviceReport) -> dict[str, str | None]:
    """Property and value; None where the device has no such thing."""
    of = report.settings
    if of is None:  # written before settings were recorded
        cores = f"{report.device.usable_cores} usable"
        governor = report.device.governor or NOT_RECORDED
        return {POWER_MODE: NOT_RECORDED, GOVERNOR: governor, PINNED: NOT_RECORDED, "cores": cores}
    limit = f", of which control groups leave {of.cpu_limit:g} processors' time" if of.cpu_limit is not None else ""
    return {
        POWER_MODE: _power_mode(report, of),
        GOVERNOR: ", ".join(dict.fromkeys(clock.governor or NOT_TOLD for clock in of.cpu_clocks)) or NOT_TOLD,
        PINNED: _pinned(of),
        "CPU clocks": "; ".join(_megahertz(clock.min_khz, clock.max_khz, 1e3) for clock in of.cpu_clocks) or None,
        "GPU clocks": "; ".join(_megahertz(clock.min_hz, clock.max_hz, 1e6) for clock in of.gpu_clocks) or None,
        "cores": f"{report.device.usable_cores} usable{limit}",
        "threads": _threads(report),
    }


def differing(told: Sequence[Told]) -> tuple[str, ...]:
    """A line for each of ``COMPARED`` in which devices differ; those that lack it are not compared.

    What is not known of a device makes no difference: where others differ, it is named with them.
    """
    lines = []
    for name in COMPARED:
        found: dict[str, dict[str, None]] = {}
        unknown: dict[str, None] = {}
        for one in told:
            for value in (value for key, value in one.device.about if key == name):
                (unknown if _is_unknown(value) else found.setdefault(value, {}))[one.device.name] = None
        if len(found) > 1:
            each = [f"{value} on {', '.join(names)}" for value, names in found.items()]
            each += [f"{NOT_KNOWN} of {', '.join(unknown)}"] if unknown else []
            lines.append(f"measured with different settings, {name}: {'; '.join(each)}")
    return tuple(lines)


def _is_unknown(value: str) -> bool:
    return value in (NOT_RECORDED, NOT_TOLD) or value.startswith(NOT_KNOWN)


def _power_mode(report: DeviceReport, of: Settings) -> str | None:
    if of.power_mode is not None:
        number = "" if of.power_mode.number is None else f" ({of.power_mode.number})"
        return f"{of.power_mode.name}{number}"
    return f"{NOT_KNOWN}: {of.no_power_mode}" if report.device.l4t else None


def _pinned(of: Settings) -> str:
    """What ``jetson_clocks`` does: both bounds of a clock are the same."""
    cpu = [clock.min_khz == clock.max_khz for clock in of.cpu_clocks if None not in (clock.min_khz, clock.max_khz)]
    gpu = [clock.min_hz == clock.max_hz for clock in of.gpu_clocks if None not in (clock.min_hz, clock.max_hz)]
    if not cpu and not gpu:
        return NOT_TOLD
    return " and ".join(name for name, pinned in (("CPU", cpu), ("GPU", gpu)) if pinned and all(pinned)) or "none"


def _megahertz(low: int | None, high: int | None, unit: float) -> str:
    low_mhz, high_mhz = ("?" if bound is None else f"{bound / unit:.0f}" for bound in (low, high))
    return f"{low_mhz} MHz" if low_mhz == high_mhz else f"{low_mhz} to {high_mhz} MHz"


def _threads(report: DeviceReport) -> str | None:
    """Of each runtime that ran; those on a GPU have none."""
    counts: dict[str, dict[str, None]] = {}
    for row in report.results:
        if row.threads is not None:
            counts.setdefault(row.runtime.replace("_", "-"), {})[str(row.threads)] = None
    return ", ".join(f"{runtime} {' and '.join(of)}" for runtime, of in counts.items()) or None
