"""The decision table: every row with all that a choice rests on, each figure with its boundary and its samples."""

from collections.abc import Iterable, Sequence

from bench import cells
from bench.report import commands, theme
from bench.report.recommend import Recommendation
from bench.report.subject import HEADLINE, FirstLook, Row, Subject, Timing
from bench.report.views import Cell, Line, Missing, Section, Table, Tone, parity_tone

NONE = Cell(cells.NOTHING, tone="dim")
VERDICT_TONES: dict[str, Tone] = {"stable": "good", "noisy": "warn", "unstable": "bad", "invalid": "bad"}
BRIEF = ("row", "verdict", "parity", "p50, ms", "p90, ms", "speed-up", "peak MiB", "file")
"""Columns for where there is little room, as in a pull request."""

CAPTION = (
    f"One image at a time. p50, p90, p99, late calls and speed-up are taken at {HEADLINE}: from the image in a NumPy "
    "array to the joints in one. Below p50 stand the lowest and the highest round median, below a percentile its 99 % "
    "upper bound, below late calls the upper end of their share's 95 % interval, below a speed-up its 95 % interval. "
    "(same): not told apart from the reference. n/a (351 < 662): so many calls, so many are needed."
)


def decision(subject: Subject, found: Recommendation) -> Section:
    """All rows; where nothing was benchmarked, the first look that the export took."""
    if subject.bench is None:
        missing = Missing("the benchmark", "nothing was measured by the protocol yet", commands.bench(subject))
        first = (first_look(subject.first_look, subject.machine),) if subject.first_look else ()
        return Section("decision", "Decision table", missing=(missing,), tables=first)
    table = decision_table(subject.rows, found.row)
    return Section("decision", "Decision table", (found.reason, *found.passed_over), tables=(table,))


def decision_table(rows: Sequence[Row], chosen: Row | None, columns: Sequence[str] | None = None) -> Table:
    """``columns``: by name; None: all."""
    shown = [(row, _cells(row, rows, chosen=row is chosen)) for row in theme.ordered(rows)]
    names = tuple(columns) if columns is not None else tuple(shown[0][1]) if shown else ("row",)
    lines = [Line(tuple(of[name] for name in names), _standing(row, chosen)) for row, of in shown]  # type: ignore[arg-type]
    return Table(CAPTION, names, tuple(lines), wide=columns is None, dense=columns is None)


def first_look(rows: Iterable[FirstLook], machine: str | None) -> Table:
    """Taken by the export in a few seconds: no protocol, no verdict."""
    lines = [
        Line(
            (
                Cell(f"{row.runtime} {row.precision}"),
                Cell(str(row.threads)),
                Cell(f"{row.latency_ms:.2f}"),
                Cell(_first_speed_up(row)),
            ),
            "greyed",
        )
        for row in rows
    ]
    caption = f"A first look that the export took ({machine}): a few seconds, never ranked."
    return Table(caption, ("runtime", "threads", "median, ms", "speed-up"), tuple(lines))


def _first_speed_up(row: FirstLook) -> str:
    ratio = row.speed_up
    return cells.ratio(ratio.median, ratio.low, ratio.high) if ratio is not None else cells.NOTHING


def _standing(row: Row, chosen: Row | None) -> str:
    return "chosen" if row is chosen else "" if row.ranked else "greyed"


def _cells(row: Row, rows: Sequence[Row], *, chosen: bool) -> dict[str, Cell]:
    timing = row.headline
    computes = f"computes {row.computes}" if row.computes else ""
    about = [*(["recommended"] if chosen else []), *(["reference"] if row.is_reference else []), computes]
    found = {
        "row": Cell(row.name, ", ".join(text for text in about if text), "good" if chosen else ""),
        "verdict": Cell(row.verdict, "; ".join(row.reasons), VERDICT_TONES[row.verdict]),
        "parity": _parity(row),
        "accuracy, mm": _accuracy(row),
        "p50, ms": _p50(row, timing),
        "p90, ms": _percentile(row, timing, 0.9),
        "p99, ms": _percentile(row, timing, 0.99),
    }
    for deadline in _deadlines(rows):
        found[f"later than {deadline:g} ms"] = _missed(row, timing, deadline)
    return found | {
        "speed-up": _speed_up(row, timing),
        "images/s": _throughput(row),
        "peak MiB": Cell(f"{row.peak_mib:.0f}", "resident") if row.peak_mib else NONE,
        "file": Cell(cells.megabytes(row.file_bytes), row.file or "") if row.file_bytes else NONE,
        "build, s": Cell(f"{row.build_s:.1f}", "the engine")
        if row.build_s is not None
        else Cell("–", "no build", "dim"),
        "load, ms": _starts(row.load_ms),
        "first inference, ms": _starts(row.first_ms),
    }


def _parity(row: Row) -> Cell:
    if row.drift is None:
        return NONE
    of = row.drift
    text = of.status + (f" {cells.millimetres(of.mean_mm)} mm" if of.mean_mm is not None else "")
    note = f"mean; max {cells.millimetres(of.max_mm)}; {of.images} images" if of.max_mm is not None else of.reason
    return Cell(text, note, parity_tone(of.status))


def _accuracy(row: Row) -> Cell:
    if not row.accuracy:
        return Cell("n/a", "not evaluated", "dim")
    of = row.accuracy[0]
    price = f"price {of.price_mm.value:+.2f}; " if of.price_mm else ""
    text = f"{of.mpjpe_mm:.2f}" if of.mpjpe_mm is not None else "n/a"
    return Cell(text, f"MPJPE; {price}{of.samples:,} of {of.dataset}")


def _p50(row: Row, timing: Timing | None) -> Cell:
    if timing is None:
        return NONE
    text = cells.milliseconds(row.verdict, timing.p50_ms, timing.low_ms, timing.high_ms)
    spread = "" if row.verdict == "unstable" else f"{timing.low_ms:.2f} to {timing.high_ms:.2f}; "
    return Cell(text, f"{spread}{timing.samples} calls, {timing.rounds} rounds")


def _percentile(row: Row, timing: Timing | None, quantile: float) -> Cell:
    found = timing.tail(quantile) if timing else None
    if timing is None or found is None:
        return NONE
    seen = {"samples": timing.samples, "floor": found.floor, "rounds": timing.rounds}
    if found.value_ms is None:
        return Cell(cells.no_percentile(row.verdict, **seen), f"{timing.samples} calls", "dim")
    return Cell(f"{found.value_ms:.2f}", f"≤ {found.upper_ms:.2f}; {timing.samples} calls")


def _deadlines(rows: Sequence[Row]) -> list[float]:
    return sorted({of.deadline_ms for row in rows if row.headline for of in row.headline.misses}, reverse=True)


def _missed(row: Row, timing: Timing | None, deadline_ms: float) -> Cell:
    found = next((of for of in timing.misses if of.deadline_ms == deadline_ms), None) if timing else None
    if timing is None or found is None:
        return NONE
    tone: Tone = "bad" if row.ranked and found.missed else ""
    if not row.ranked:
        return Cell(cells.NOTHING, f"of {timing.samples} calls", "dim")
    return Cell(str(found.missed), f"≤ {found.high:.1%}; of {timing.samples} calls", tone)


def _speed_up(row: Row, timing: Timing | None) -> Cell:
    if row.is_reference:
        return Cell("1", "the reference", "dim")
    if row.speed_up is None:
        return Cell(cells.NOTHING, "not ranked" if timing else "", "dim")
    of = row.speed_up
    note = f"[{of.low:.2f}, {of.high:.2f}]; {timing.rounds if timing else 0} rounds"
    return Cell(f"{of.median:.2f}" + (" (same)" if of.same else ""), note)


def _throughput(row: Row) -> Cell:
    if not row.throughput:
        return Cell("n/a", "not measured", "dim")
    if not row.ranked:
        return Cell("n/a", row.verdict, "dim")
    best = max(row.throughput, key=lambda of: of.images_per_s)
    flight = f", {best.in_flight} calls in flight" if best.in_flight > 1 else ""
    return Cell(f"{best.images_per_s:.0f}", f"batch {best.batch}{flight}; {best.calls} calls")


def _starts(values: Sequence[float]) -> Cell:
    if not values:
        return NONE
    return Cell(cells.spread(values), f"{len(values)} fresh process{'es' if len(values) > 1 else ''}")
