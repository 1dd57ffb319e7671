"""The decision table: every row, the fastest first. On a page of several devices it has their column."""

from collections.abc import Sequence

from bench.report.measurement import Measurement
from bench.report.recommend import Choice
from bench.report.rows import (
    HEADLINE,
    error_mm,
    headline,
    in_order,
    is_ranked,
    name_of,
    parity_status,
    percentile_of,
)
from bench.report.views import VERDICT_TONES, Cell, Line, Section, Standing, Table, Tone, line, parity_tone
from bench.results import cells
from bench.results.result import Latency, Row
from export.parity.budgets import PASS

NONE = Cell(cells.NOTHING, tone="dim")
MPJPE, ERROR = "MPJPE (mm)", "export error (mm)"
BRIEF = ("model", "device", "row", MPJPE, "p50 (ms)", "p99 (ms)", "speed-up", "memory (MiB)")
"""The columns that a decision needs; the export error takes the place of an MPJPE that nobody measured."""
CAPTION = (
    f"One image at a time, {HEADLINE}: from the image in a NumPy array to the joints in one. Small: the range of round "
    "medians, the 99 % bound of p99, 95 % intervals. Speed-ups are over "
)


def decision(choice: Choice) -> Section:
    """Return all rows of one measurement; without a benchmark, the reason."""
    measurement = choice.measurement
    if measurement.missing is not None:
        return Section("decision", "Not decided", (choice.reason,))
    table = decision_table([choice], measurement.reference)
    title = "Every row: the recommended one, then by speed" if choice.row else "Every row"
    return Section("decision", title, (choice.reason, *choice.passed_over), tables=(table,))


def side_by_side(choices: Sequence[Choice]) -> Section:
    """Return the recommended row of each measurement; without one, the reason."""
    lead = "Each line is a measurement of its own, and none is ranked: milliseconds of two devices do not compare."
    names = _brief(_columns(choices))
    lines = [_line(choice, choice.row, names, "" if choice.row else "greyed") for choice in choices]
    table = Table("The recommended row of each.", names, tuple(lines))
    return Section("decision", "Side by side", (lead,), tables=(table,))


def decision_table(choices: Sequence[Choice], reference: str) -> Table:
    """Return a line for each row of each measurement."""
    names = _columns(choices)
    lines = [
        _line(choice, row, names, "chosen" if row is choice.row else "" if is_ranked(row) else "greyed")
        for choice in choices
        for row in sorted(in_order(choice.measurement.rows), key=lambda row: _speed_key(row, choice))
    ]
    return Table(f"{CAPTION}{reference}.", tuple(names), tuple(lines), brief=_brief(names))


def _speed_key(row: Row, choice: Choice) -> tuple[bool, bool, float]:
    """Sort the recommended row first, then the ranked ones by their speed; the others last."""
    latency = headline(row) if is_ranked(row) else None
    return row is not choice.row, latency is None, latency.p50_ms if latency else 0.0


def _brief(names: Sequence[str]) -> tuple[str, ...]:
    """Return those of these columns that a decision needs."""
    return tuple(name for name in names if name in BRIEF or (name == ERROR and MPJPE not in names))


def _line(choice: Choice, row: Row | None, names: Sequence[str], standing: Standing) -> Line:
    by_column = _cells(choice, row) if row else _no_row(choice)
    return line(*(by_column.get(name) or NONE for name in names), standing=standing)


def _columns(choices: Sequence[Choice]) -> list[str]:
    """Return the columns that tell the lines apart, and those in which some line has a value."""
    lines = [_cells(choice, row) for choice in choices for row in in_order(choice.measurement.rows)]
    names = dict.fromkeys(name for line in lines for name in line)
    measurements = [choice.measurement for choice in choices]
    alike = {
        *(["model"] if len({measurement.model for measurement in measurements}) == 1 else []),
        *(["device"] if not any(measurement.device for measurement in measurements) else []),
    }
    columns = [name for name in names if any(line.get(name) for line in lines) and name not in alike]
    brief = _brief(columns)
    columns = [*brief, *(name for name in columns if name not in brief)]
    return columns or [*({"model", "device"} - alike), "row"]


def _no_row(choice: Choice) -> dict[str, Cell | None]:
    measurement = choice.measurement
    text = "not run" if measurement.missing else "nothing"
    row = Cell(text, measurement.missing or choice.reason, "dim" if measurement.missing else "bad")
    return {"model": Cell(measurement.model), "device": Cell(measurement.device), "row": row}


def _cells(choice: Choice, row: Row) -> dict[str, Cell | None]:
    """Return the cells of a row by column; None for what the row lacks."""
    measurement, latency = choice.measurement, headline(row)
    computes = f"computes {row.precision_used}" if row.precision_used not in (None, row.precision) else ""
    doubt = "" if row.verdict == "stable" else row.verdict
    words = ("recommended" if row is choice.row else "", "reference" if row.is_reference else "", computes, doubt)
    return {
        "model": Cell(measurement.model, f"weights: {measurement.weights}"),
        "device": Cell(measurement.device),
        "row": Cell(name_of(row), ", ".join(filter(None, words)), "good" if row is choice.row else ""),
        MPJPE: _accuracy(measurement, row),
        ERROR: _error(row),
        "p50 (ms)": _p50(row, latency),
        "p99 (ms)": _percentile(row, latency, 0.99),
        "speed-up": _speed_up(row, latency),
        "memory (MiB)": Cell(f"{row.memory.peak_mib:.0f}") if row.memory and row.memory.peak_mib else None,
        "verdict": _verdict(row),
        "parity": _parity(measurement, row),
        "calls": Cell(str(latency.samples)) if latency else None,
        "launches (ms)": Cell(cells.each([launch.p50_ms for launch in row.launches])) if row.launches else None,
        "p90 (ms)": _percentile(row, latency, 0.9),
        **_late_calls(row, latency),
        "images/s": _throughput(row),
        "photo to joints (ms)": _photo(row),
        "energy (J)": _energy(row),
        "file": _file(row),
        "cold start (ms)": _cold_start(row),
    }


def _verdict(row: Row) -> Cell:
    """Return the verdict, with its reasons unless there is nothing to doubt."""
    clear = row.verdict == "stable" and (row.is_reference or row.speed_up)
    reasons = "" if clear else "; ".join(row.reasons)
    return Cell(row.verdict, reasons, VERDICT_TONES[row.verdict])


def _parity(measurement: Measurement, row: Row) -> Cell:
    status = parity_status(row)
    if status is None:
        return Cell(cells.NOTHING, "not judged", "dim")
    unknown = row.precision == "int8" and not measurement.accuracy_of(row)
    note = "accuracy not evaluated" if unknown else ""
    return Cell(measurement.parity_text(row), note, "warn" if unknown and status == PASS else parity_tone(status))


def _error(row: Row) -> Cell | None:
    if row.parity is None:
        return None
    mean, largest = error_mm(row), error_mm(row, "max_mm")
    if mean is None or largest is None:
        return Cell("not finite", row.parity["reason"], "bad")
    note = f"max {cells.millimetres(largest)}; {row.parity.get('images', 0)} images"
    return Cell(cells.millimetres(mean), note)


def _accuracy(measurement: Measurement, row: Row) -> Cell | None:
    evaluations = measurement.accuracy_of(row)
    if not evaluations:
        return Cell("unknown", "not evaluated", "dim") if measurement.evaluations else None
    text, loss = f"{evaluations[0].mpjpe_mm:.2f}", evaluations[0].loss
    if loss is None:
        return Cell(text, evaluations[0].dataset.name)
    interval = f" [{loss.low:+.2f}, {loss.high:+.2f}]" if loss.low is not None else ""
    return Cell(text, f"export {loss.mean:+.2f}{interval}")


def _p50(row: Row, latency: Latency | None) -> Cell | None:
    if latency is None:
        return None
    low, high = latency.round_median_low_ms, latency.round_median_high_ms
    spread = "" if row.verdict == "unstable" else f"{low:.2f} to {high:.2f}"
    return Cell(cells.milliseconds(row.verdict, latency.p50_ms, low, high), spread)


def _percentile(row: Row, latency: Latency | None, quantile: float) -> Cell | None:
    tail = percentile_of(latency, quantile) if latency else None
    if latency is None or tail is None:
        return None
    if tail.value_ms is None:
        counts = {"samples": latency.samples, "floor": tail.floor, "rounds": latency.rounds}
        return Cell(cells.no_percentile(row.verdict, **counts), tone="dim")
    return Cell(f"{tail.value_ms:.2f}", f"≤ {tail.upper_ms:.2f}" if tail.upper_ms is not None else "")


def _late_calls(row: Row, latency: Latency | None) -> dict[str, Cell | None]:
    late: dict[str, Cell | None] = {}
    for deadline in latency.deadlines if latency else ():
        tone: Tone = "bad" if deadline.missed else ""
        cell = Cell(str(deadline.missed), f"≤ {deadline.high:.1%}", tone) if is_ranked(row) else None
        late[f"later than {deadline.deadline_ms:g} ms"] = cell
    return late


def _speed_up(row: Row, latency: Latency | None) -> Cell | None:
    if row.is_reference:
        return Cell("1", "the reference", "dim")
    if (up := row.speed_up) is None:
        return Cell(cells.NOTHING, "not ranked", "dim") if latency else None
    return Cell(f"{up.median:.2f}" + " (same)" * up.same, f"[{up.low:.2f}, {up.high:.2f}]")


def _throughput(row: Row) -> Cell | None:
    best = row.best_throughput
    if best is None or not is_ranked(row):
        return None
    flight = f", {best.in_flight} calls in flight" if best.in_flight > 1 else ""
    return Cell(f"{best.images_per_s:.0f}", f"batch {best.batch}{flight}")


def _photo(row: Row) -> Cell | None:
    photo = row.image_to_joints
    if photo is None or not is_ranked(row):
        return None
    return Cell(
        f"{photo.total_p50_ms:.2f}", f"network {photo.network_p50_ms:.2f}; {photo.image_width}×{photo.image_height}"
    )


def _energy(row: Row) -> Cell | None:
    energy = row.energy
    if energy is None:
        return None
    return Cell(f"{energy.net_j:.3g}", f"net of idle; gross {energy.gross_j:.3g}; {energy.source}; {energy.caveat}")


def _file(row: Row) -> Cell | None:
    if row.artifact is None:
        return None
    return Cell(cells.megabytes(row.artifact_bytes), row.artifact) if row.artifact_bytes else Cell(row.artifact)


def _cold_start(row: Row) -> Cell | None:
    start = row.cold_start
    if start is None or not start.load_ms:
        return None
    return Cell(
        cells.spread([load + first for load, first in zip(start.load_ms, start.first_ms, strict=True)]), "load + first"
    )
