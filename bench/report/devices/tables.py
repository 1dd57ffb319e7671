"""Devices side by side: what to ship on each, every row of a model on every device, and what the devices are."""

from collections.abc import Sequence

from bench import cells
from bench.report.devices.settings import NOT_RECORDED, POWER_MODE
from bench.report.devices.told import Devices, Told, row_names
from bench.report.sections.decision import VERDICT_TONES
from bench.report.subject import Row
from bench.report.views import Cell, Line, Table, Tone, parity_tone

COLUMNS = ("p50, ms", "speed-up", "parity")
NOT_RUN = "not run"


def matrix(of: Devices) -> Table:
    """A line a device, a column a model: what to ship there."""
    caption = (
        f"What to ship of each model on each device, chosen among that device's own rows. Speed-ups are over "
        f"{of.reference}. Milliseconds are of the device in whose line they stand, and say nothing about another one."
    )
    lines = tuple(
        Line((Cell(name, _hardware(of, name)), *(_shipped(of.at(name, model)) for model in of.models)))
        for name in of.names
    )
    return Table(caption, ("device", *of.models), lines, wide=True)


def model_table(told: Sequence[Told]) -> Table:
    """A line a runtime and precision, three columns a device; what was not run says why."""
    caption = (
        "Within one device p50 compares, across devices nothing but the speed-up does, and that is over each device's "
        "own reference. Below p50 stand the lowest and the highest round median, and p90; below a speed-up its 95 % "
        "interval and the row's verdict; below parity the largest distance."
    )
    chosen = {one.device.name: one.recommended.row for one in told}
    lines = tuple(
        Line((Cell(name), *(cell for one in told for cell in _cells(one, name, chosen[one.device.name]))))
        for name in row_names(told)
    )
    groups = tuple((one.device.name, len(COLUMNS)) for one in told)
    return Table(caption, ("row", *COLUMNS * len(told)), lines, wide=True, groups=(("", 1), *groups))


def what_they_are(told: Sequence[Told]) -> Table:
    """A line a property, a column a device: those that differ first. Machines that stood in for one are told apart."""
    seen = list(dict.fromkeys((one.device.name, one.device.machine) for one in told))
    about = {key: _about([one for one in told if (one.device.name, one.device.machine) == key]) for key in seen}
    names = [key[0] for key in seen]
    columns = [f"{name}, {machine}" if names.count(name) > 1 and machine else name for name, machine in seen]
    properties = list(dict.fromkeys(name for of in about.values() for name in of))
    lines = []
    for name in properties:
        values = [of.get(name, cells.NOTHING) for of in about.values()]
        differs = len(set(values)) > 1
        note = ("differs" if differs else "the same") if len(values) > 1 else ""
        line = Line((Cell(name, note, "warn" if differs else ""), *(Cell(value) for value in values)))
        lines.append((not differs, line))
    ordered = tuple(line for _, line in sorted(lines, key=lambda of: of[0]))
    caption = "As each device was recorded when it measured; what differs between them stands first."
    return Table(caption, ("property", *columns), ordered, wide=True)


def speed_up_text(row: Row) -> str:
    """``3.19×``; nothing of the reference or of what is not ranked."""
    return f"{row.speed_up.median:.2f}×" if row.speed_up and row.ranked else ""


def _shipped(one: Told | None) -> Cell:
    """The recommended row with its figures, or why there is none."""
    if one is None:
        return Cell(NOT_RUN, "this model was not asked for there", "dim")
    found = one.recommended
    row = found.row
    if row is None or row.headline is None:
        tone: Tone = "dim" if one.missing else "bad"
        return Cell(NOT_RUN if one.missing else "nothing", one.missing or found.reason, tone)
    up, timing = row.speed_up, row.headline
    gain = f", {speed_up_text(row)}" if up else ""
    ends = f"speed-up [{up.low:.2f}, {up.high:.2f}]; " if up else ""
    over = "it is the reference itself; " if row.is_reference else ends
    note = f"{over}parity {_drift(row)}; {row.verdict}"
    return Cell(f"{row.name}: {timing.p50_ms:.2f} ms{gain}", note, VERDICT_TONES[row.verdict])


def _drift(row: Row) -> str:
    if row.drift is None:
        return "not judged"
    mean = f", {cells.millimetres(row.drift.mean_mm)} mm" if row.drift.mean_mm is not None else ""
    return f"{row.drift.status}{mean}"


def _cells(one: Told, name: str, chosen: Row | None) -> tuple[Cell, ...]:
    row = one.row(name)
    if row is None:
        return (Cell(NOT_RUN, one.why_not(name), "dim", span=len(COLUMNS)),)
    return _p50(row, recommended=row is chosen), _speed_up(row), _parity(row)


def _p50(row: Row, *, recommended: bool) -> Cell:
    timing, mark = row.headline, "recommended there; " if recommended else ""
    if timing is None:
        return Cell(cells.NOTHING, f"{mark}not timed", "dim")
    text = cells.milliseconds(row.verdict, timing.p50_ms, timing.low_ms, timing.high_ms)
    tail = timing.tail(0.9)
    p90 = f"; p90 {tail.value_ms:.2f}" if tail and tail.value_ms is not None else ""
    spread = "" if row.verdict == "unstable" else f"{timing.low_ms:.2f} to {timing.high_ms:.2f}"
    note = f"{mark}{spread}{p90}; {timing.samples} calls".replace("; ;", ";").removeprefix("; ")
    return Cell(text, note, "good" if recommended else "" if row.ranked else "dim")


def _speed_up(row: Row) -> Cell:
    tone = VERDICT_TONES[row.verdict]
    if row.speed_up is not None and row.ranked:
        of = row.speed_up
        same = " (same)" if of.same else ""
        return Cell(f"{of.median:.2f}{same}", f"[{of.low:.2f}, {of.high:.2f}]; {row.verdict}", tone)
    if row.is_reference:
        return Cell("1", f"the reference; {row.verdict}", "dim" if row.ranked else tone)
    reasons = "; ".join(row.reasons)
    return Cell(row.verdict if not row.ranked else cells.NOTHING, reasons, tone)


def _parity(row: Row) -> Cell:
    if row.drift is None:
        return Cell(cells.NOTHING, "not judged", "dim")
    of = row.drift
    text = of.status + (f" {cells.millimetres(of.mean_mm)} mm" if of.mean_mm is not None else "")
    note = f"max {cells.millimetres(of.max_mm)}; {of.images} images" if of.max_mm is not None else of.reason
    return Cell(text, note, parity_tone(of.status))


def _hardware(of: Devices, name: str) -> str:
    """Board or processor, the GPU, and the power mode that it measured in."""
    about = _about([one for one in of.told if one.device.name == name])
    gpu = about.get("GPU", "")
    known = about.get(POWER_MODE, NOT_RECORDED)
    mode = "" if known == NOT_RECORDED else f"power mode {known}"
    shown = (about.get("board"), about.get("processor"), "" if gpu.startswith("none") else gpu, mode)
    return ", ".join(text for text in shown if text)


def _about(told: Sequence[Told]) -> dict[str, str]:
    """Of one machine, as it was recorded with its results, else as it was first seen; what differs from job to job, as
    the time, is told of each."""
    found: dict[str, dict[str, None]] = {}
    for one in [one for one in told if one.missing is None] or told:
        for name, value in one.device.about:
            found.setdefault(name, {})[value] = None
    return {name: "; ".join(values) for name, values in found.items()}
