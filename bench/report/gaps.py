"""What was not tested, why, and the command that does it. It is never counted as passed."""

from collections import Counter
from collections.abc import Iterable, Sequence

from bench import cells
from bench.report import commands
from bench.report.measurement import Measurement
from bench.report.model_files import ModelFiles
from bench.report.recommend import Choice
from bench.report.rows import headline, name_of, percentile_of
from bench.report.views import Cell, Line, Missing, Section, Table
from bench.result import Row

MOST = 2
"""Reasons of rows that are listed here; of more, the decision table has each."""

Located = tuple[str, Missing]
"""What is missing, and the measurements that lack it."""


def gaps_of(choices: Sequence[Choice], others: Sequence[Located] = ()) -> list[Located]:
    """Return everything that was not tested; the same gap of several measurements is listed once.

    Args:
        choices: all measurements.
        others: gaps that belong to no measurement, as devices without work.
    """
    where: dict[Missing, list[str]] = {}
    for choice in choices:
        for gap in _gaps(choice):
            where.setdefault(gap, []).append(choice.measurement.label)
    every = len(choices)
    found = [("all" if len(of) == every > 1 else ", ".join(of), gap) for gap, of in where.items()]
    return [*others, *found]


def untested(gaps: Sequence[Located], *, several: bool) -> Section:
    """Return the gaps as a table."""
    lines = tuple(
        Line((*([Cell(where)] if several else []), Cell(of.what), Cell(of.reason), Cell(of.command or cells.NOTHING)))
        for where, of in gaps
    )
    columns = (*(["where"] if several else []), "not tested", "reason", "command")
    table = Table("None of this is counted as passed.", columns, lines)
    return Section("untested", "Not tested", tables=(table,) if lines else ())


def _gaps(choice: Choice) -> list[Missing]:
    """Return the gaps of one measurement, the most important first."""
    of, files = choice.measurement, choice.measurement.export
    if of.missing is not None and of.device:
        return [Missing(of.model, of.missing, of.command)]
    return [
        *_weights(of),
        *_accuracy(of),
        *_rows(choice),
        *_grouped((f"{one.runtime} {one.precision or ''}".strip(), one.reason) for one in of.not_run),
        *(_of_export(of, files) if files and not of.device else []),
    ]


def _weights(of: Measurement) -> list[Missing]:
    reasons = {"stand-in": "stand-in weights: only latency is meaningful", "demo": "demo weights: drawn figures only"}
    if of.weights not in reasons:
        return []
    return [Missing("poses of people", reasons[of.weights], f"convnextpose export {of.model} --checkpoint FILE")]


def _accuracy(of: Measurement) -> list[Missing]:
    if of.evaluations:
        return []
    command = commands.evaluate(of.source) if of.export and not of.device else None
    return [Missing("accuracy on annotated images", "never evaluated; int8 is recommended only if it was", command)]


def _rows(choice: Choice) -> list[Missing]:
    """Return what the benchmark left open."""
    of, command = choice.measurement, choice.measurement.command
    if of.missing is not None:
        return [Missing("latency", of.missing, command)]
    files = of.export if not of.device else None
    longer = commands.longer_bench(files) if files else None
    found = [] if of.complete else [Missing("the rest of the benchmark", "it was interrupted", command)]
    for verdict in ("unstable", "invalid"):
        rows = [row for row in of.rows if row.verdict == verdict]
        reasons = list(dict.fromkeys(reason for row in rows for reason in row.reasons))
        if rows:
            why = "; ".join(reasons) if len(reasons) <= MOST else "the decision table has the reason of each"
            advice = longer if verdict == "unstable" else None
            found.append(Missing(f"speed-up of {', '.join(map(name_of, rows))}", f"{verdict}: {why}", advice))
    if files and files.result and files.result.samples and files.samples is None:
        found.append(Missing("how often a call is slow", "samples.npz is not beside the result", command))
    return [*found, *_p99(choice.row, of)]


def _p99(row: Row | None, of: Measurement) -> list[Missing]:
    latency = headline(row) if row else None
    tail = percentile_of(latency, 0.99) if latency else None
    if row is None or latency is None or tail is None or tail.value_ms is not None:
        return []
    why = cells.no_percentile(row.verdict, samples=latency.samples, floor=tail.floor, rounds=latency.rounds)
    command = commands.bench(of.source, "--publish") if of.export and not of.device else None
    return [Missing(f"p99 of {name_of(row)}", why, command)]


def _of_export(of: Measurement, files: ModelFiles) -> list[Missing]:
    """Return what the export could not make, and which passes of the benchmark were not asked for."""
    manifest, run = files.manifest, {row.artifact for row in of.rows if row.latency}
    idle = Counter(of.status for of in manifest.artifacts if of.kind == "engine" and of.path not in run)
    return [
        *(Missing(f"{count} engine{'s' * (count > 1)}", status) for status, count in idle.items()),
        *_grouped((f"{one.precision} {one.kind}", f"{one.status}: {one.reason}") for one in manifest.not_run),
        *_passes(of, files),
        *_grouped(
            (f"parity of {one['precision']} by {no['runner']}", no["reason"])
            for one in manifest.parity
            for no in one["not_run"]
        ),
    ]


def _passes(of: Measurement, files: ModelFiles) -> list[Missing]:
    rows = [row for row in of.rows if row.verdict != "invalid"]
    if not rows:
        return []
    passes = (
        ("throughput", any(row.throughput for row in rows), rows[-1].throughput_reason, "--throughput"),
        ("where the time goes", any(row.profile for row in rows), rows[-1].profile_reason, "--profile"),
        ("energy", any(row.energy for row in rows), rows[-1].energy_reason, "--energy"),
    )
    return [
        Missing(what, reason or "not measured", commands.bench(files.folder, option))
        for what, there, reason, option in passes
        if not there
    ]


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[Missing]:
    """Return each reason once, with everything that it holds for."""
    by_reason: dict[str, list[str]] = {}
    for what, why in pairs:
        by_reason.setdefault(why, []).append(what)
    return [Missing(", ".join(of), why) for why, of in by_reason.items()]
