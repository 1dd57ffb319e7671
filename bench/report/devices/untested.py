"""What was not tested on which device, and why: jobs without a result, devices without work, rows that did not run."""

from collections.abc import Sequence

from bench import cells
from bench.report.devices.told import Devices, Told
from bench.report.sections.untested import MOST
from bench.report.views import Cell, Line, Section, Table

Gap = tuple[str, str, str, str]
"""Devices, what, why, the command that does it."""

PRICE = "never evaluated, so that int8 is recommended nowhere"


def gaps(of: Devices) -> list[Gap]:
    """Everything; what holds for several devices is said once."""
    by_rest: dict[tuple[str, str, str], dict[str, None]] = {}
    for one in of.told:
        for what, why, command in _of(one):
            by_rest.setdefault((what, why, command), {})[one.device.name] = None
    found = [(", ".join(names), *rest) for rest, names in by_rest.items()]
    return [*((device, f"the device: {state}", why, "") for device, state, why in of.idle), *found]


def untested(of: Devices) -> Section:
    """As a table."""
    lines = tuple(
        Line((Cell(device), Cell(what), Cell(why), Cell(command or cells.NOTHING, tone="" if command else "dim")))
        for device, what, why, command in gaps(of)
    )
    table = Table("Nothing of this is counted as passed.", ("device", "what", "why", "what does it"), lines, wide=True)
    return Section("untested", "What was not tested, and why", tables=(table,) if lines else ())


def _of(one: Told) -> list[tuple[str, str, str]]:
    if one.missing is not None:
        return [(one.model, one.missing, one.command or "")]
    found = [] if one.complete else [(f"the rest of {one.model}", "it was interrupted", one.command or "")]
    found += [(f"{one.model}: {what}", why, "") for what, why in (*one.not_run, *one.remarks)]
    for verdict in ("unstable", "invalid"):
        rows = [row for row in one.rows if row.verdict == verdict]
        reasons = list(dict.fromkeys(reason for row in rows for reason in row.reasons))
        if rows:
            why = "; ".join(reasons) if len(reasons) <= MOST else "the tables say why of each"
            found.append((f"{one.model}: a speed-up of {', '.join(row.name for row in rows)}", f"{verdict}: {why}", ""))
    if not any(row.accuracy for row in one.rows):
        found.append((f"{one.model}: accuracy on annotated images", PRICE, "convnextpose evaluate EXPORT"))
    return found


def count_text(gaps_found: Sequence[Gap]) -> str:
    """``7 things``."""
    return f"{len(gaps_found)} thing{'s' if len(gaps_found) != 1 else ''}" if gaps_found else "Everything was"
