"""What was not tested on which device, and why: jobs without a result, devices without work, rows that did not run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench import cells
from bench.report.devices.told import Devices, Told
from bench.report.sections.untested import MOST
from bench.report.views import Cell, Line, Section, Table

PRICE = "never evaluated; int8 is recommended only where it was"


@dataclass(frozen=True)
class Gap:
    """One thing that was not tested, on one device or several."""

    where: str
    """``orin, box``, or ``every device``."""
    what: str
    reason: str
    command: str = ""


@dataclass(frozen=True)
class _One:
    """The same, before what is alike is said together."""

    devices: tuple[str, ...]
    models: tuple[str, ...]
    things: tuple[str, ...]
    reason: str
    command: str


def gaps(of: Devices) -> list[Gap]:
    """Everything; what several devices, models or rows have in common is said once."""
    found = [
        _One((one.device.name,), (one.model,), (what,), why, command)
        for one in of.told
        for what, why, command in _of(one)
    ]
    for field in ("devices", "models", "things"):
        found = _together(found, field)
    idle = [Gap(device, f"the device: {state}", why) for device, state, why in of.idle]
    return [*idle, *(_said(one, of) for one in found)]


def _together(found: Sequence[_One], field: str) -> list[_One]:
    """Those that differ in this field alone become one."""
    alike: dict[_One, dict[str, None]] = {}
    for one in found:
        rest = replace(one, **{field: ()})  # type: ignore[arg-type]
        alike.setdefault(rest, {}).update(dict.fromkeys(getattr(one, field)))
    return [replace(rest, **{field: tuple(values)}) for rest, values in alike.items()]  # type: ignore[arg-type]


def _said(one: _One, of: Devices) -> Gap:
    where = "every device" if len(one.devices) == len(of.names) > 1 else ", ".join(one.devices)
    things = ", ".join(thing for thing in one.things if thing)
    models = ", ".join(one.models)
    return Gap(where, f"{models}: {things}" if things else models, one.reason, one.command)


def untested(of: Devices) -> Section:
    """As a table."""
    lines = tuple(
        Line((Cell(gap.where), Cell(gap.what), Cell(gap.reason), Cell(gap.command or cells.NOTHING)))
        for gap in gaps(of)
    )
    table = Table("Nothing of this is counted as passed.", ("device", "what", "why", "what does it"), lines, wide=True)
    return Section("untested", "What was not tested, and why", tables=(table,) if lines else ())


def _of(one: Told) -> list[tuple[str, str, str]]:
    """(what, why, the command that does it); nothing said of what: the whole model."""
    if one.missing is not None:
        return [("", one.missing, one.command or "")]
    found = [] if one.complete else [("the rest of the benchmark", "it was interrupted", one.command or "")]
    found += [(what, why, "") for what, why in (*one.not_run, *one.remarks)]
    for verdict in ("unstable", "invalid"):
        rows = [row for row in one.rows if row.verdict == verdict]
        reasons = list(dict.fromkeys(reason for row in rows for reason in row.reasons))
        if rows:
            why = "; ".join(reasons) if len(reasons) <= MOST else "the tables say why of each"
            found.append((f"a speed-up of {', '.join(row.name for row in rows)}", f"{verdict}: {why}", ""))
    if not any(row.accuracy for row in one.rows):
        found.append(("accuracy on annotated images", PRICE, ""))
    return found
