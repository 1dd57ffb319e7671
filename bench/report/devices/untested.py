"""What was not tested on which device, and why: jobs without a result, devices without work, rows that did not run."""

from dataclasses import dataclass

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


def gaps(of: Devices) -> list[Gap]:
    """Everything; what several devices, models or rows have in common is said once."""
    found = [Gap(device, f"the device: {state}", why) for device, state, why in of.idle]
    devices: dict[tuple[str, str, str, str], list[str]] = {}
    for one in of.told:
        for gap in _of(one):
            devices.setdefault((one.model, *gap), []).append(one.device.name)
    models: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for (model, what, why, command), names in devices.items():
        models.setdefault((what, why, command, tuple(names)), []).append(model)
    whats: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (what, why, command, names), of_models in models.items():
        whats.setdefault((why, command, names, tuple(of_models)), []).append(what)
    for (why, command, names, of_models), things in whats.items():
        said = ", ".join(thing for thing in things if thing)
        models_said = ", ".join(of_models)
        where = "every device" if len(names) == len(of.names) > 1 else ", ".join(names)
        found.append(Gap(where, f"{models_said}: {said}" if said else models_said, why, command))
    return found


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
