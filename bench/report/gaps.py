"""Tests that were not run, each with the reason and its command. None counts as passed."""

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.harness.candidates import HOW_TO_MEASURE
from bench.report import commands
from bench.report.measurement import Measurement
from bench.report.model_files import ModelFiles
from bench.report.recommend import Choice
from bench.report.rows import headline, name_of, percentile_of
from bench.report.views import Cell, Missing, Section, Table, line
from bench.results import cells
from bench.results.result import Row
from export.common.plain import group_names

IN_THE_MATRIX = "`mode: publish` or `runtimes` in the matrix measures it"
MOST = 2
"""Rows, and reasons of rows, that are listed here; of more, the decision table has each."""

MATTERS, NOT_POSSIBLE = "Matters for your decision", "Not possible on this machine"

Located = tuple[str, Missing]
"""A missing test, and the measurements without it."""


def gaps_of(choices: Sequence[Choice], more: Sequence[Located] = ()) -> list[Located]:
    """Return everything that was not tested; the same gap of several measurements is listed once."""
    where = group_names((choice.measurement.label, gap) for choice in choices for gap in _gaps(choice))
    every = len(choices)
    gaps = [("all" if len(labels) == every > 1 else ", ".join(labels), gap) for gap, labels in where.items()]
    return [*more, *gaps]


def untested(gaps: Sequence[Located], *, several: bool) -> Section:
    """Return the gaps in two tables: what matters for the decision, and what this machine cannot do."""
    tables = []
    for caption, possible in ((MATTERS, True), (NOT_POSSIBLE, False)):
        group = [(where, gap) for where, gap in gaps if gap.possible == possible]
        has_command = any(gap.command for _, gap in group)
        lines = [
            line(Cell(gap.item, where if several else ""), gap.reason, *[gap.command or cells.NOTHING] * has_command)
            for where, gap in group
        ]
        columns = ("not tested", "reason", *["command"] * has_command)
        tables += [Table(caption, columns, tuple(lines))] if lines else []
    return Section("untested", "Not tested, and not counted as passed", tables=tuple(tables))


def _gaps(choice: Choice) -> list[Missing]:
    """Return the gaps of one measurement, the most important first."""
    measurement, files = choice.measurement, choice.measurement.export
    more = commands.portable_command("bench", files.folder, "--publish") if files and not measurement.device else None
    if measurement.missing is not None and measurement.device:
        return [Missing(measurement.model, measurement.missing, measurement.command)]
    options = (HOW_TO_MEASURE, IN_THE_MATRIX)  # with one of them, the benchmark would have measured the row
    left_out = [row for row in measurement.not_run if any(option in row.reason for option in options)]
    return [
        *_weights(measurement),
        *_accuracy(measurement),
        *_rows(choice),
        *_grouped(((row.name, row.reason) for row in left_out), more, possible=True),
        *_grouped((row.name, row.reason) for row in measurement.not_run if row not in left_out),
        *(_of_export(measurement, files) if files and not measurement.device else []),
    ]


def _weights(measurement: Measurement) -> list[Missing]:
    reasons = {"stand-in": "stand-in weights: only latency is meaningful", "demo": "demo weights: drawn figures only"}
    if measurement.weights not in reasons:
        return []
    command = f"convnextpose export {measurement.model} --checkpoint FILE"
    return [Missing("poses of people", reasons[measurement.weights], command)]


def _accuracy(measurement: Measurement) -> list[Missing]:
    if measurement.evaluations:
        return []
    command = (
        commands.portable_command("evaluate", measurement.source)
        if measurement.export and not measurement.device
        else None
    )
    return [Missing("accuracy on annotated images", "never evaluated; int8 is recommended only if it was", command)]


def _rows(choice: Choice) -> list[Missing]:
    """Return what the benchmark left open."""
    measurement, command = choice.measurement, choice.measurement.command
    if measurement.missing is not None:
        return [Missing("latency", measurement.missing, command)]
    files = measurement.export if not measurement.device else None
    longer = commands.longer_bench(files) if files else None
    gaps = [] if measurement.complete else [Missing("the rest of the benchmark", "it was interrupted", command)]
    for verdict in ("unstable", "invalid"):
        rows = [row for row in measurement.rows if row.verdict == verdict]
        reasons = list(dict.fromkeys(reason for row in rows for reason in row.reasons))
        if rows:
            reason = "; ".join(reasons) if len(reasons) <= MOST else "the decision table has the reason of each"
            advice = longer if verdict == "unstable" else None
            names = ", ".join(map(name_of, rows)) if len(rows) <= MOST else f"{len(rows)} rows"
            gaps.append(Missing(f"speed-up of {names}", f"{verdict}: {reason}", advice))
    return [*gaps, *_p99(choice.row, measurement)]


def _p99(row: Row | None, measurement: Measurement) -> list[Missing]:
    latency = headline(row) if row else None
    tail = percentile_of(latency, 0.99) if latency else None
    if row is None or latency is None or tail is None or tail.value_ms is not None:
        return []
    reason = cells.no_percentile(row.verdict, samples=latency.samples, floor=tail.floor, rounds=latency.rounds)
    command = (
        commands.portable_command("bench", measurement.source, "--publish")
        if measurement.export and not measurement.device
        else None
    )
    return [Missing(f"p99 of {name_of(row)}", reason, command)]


def _of_export(measurement: Measurement, files: ModelFiles) -> list[Missing]:
    """Return what the export could not make, and which passes of the benchmark were not asked for."""
    manifest, run = files.manifest, {row.artifact for row in measurement.rows if row.latency}
    engines = [artifact for artifact in manifest.artifacts if artifact.kind == "engine"]
    idle = Counter(engine.status for engine in engines if engine.path not in run)
    return [
        *([] if manifest.parity else [Missing("parity", "the manifest has none", commands.export(files))]),
        *_passes(measurement, files),
        *(Missing(f"{count} engine{'s' * (count > 1)}", status, possible=False) for status, count in idle.items()),
        *_grouped((f"{entry.precision} {entry.kind}", f"{entry.status}: {entry.reason}") for entry in manifest.not_run),
        *_grouped(
            (f"parity of {report.precision} by {skipped.runner}", skipped.reason)
            for report in manifest.parity
            for skipped in report.not_run
        ),
    ]


def _passes(measurement: Measurement, files: ModelFiles) -> list[Missing]:
    rows = [row for row in measurement.rows if row.verdict != "invalid"]
    if not rows:
        return []
    gaps = []
    for name, figures in (("throughput", "throughput"), ("where the time goes", "profile"), ("energy", "energy")):
        if not any(getattr(row, figures) for row in rows):
            reasons = dict.fromkeys(filter(None, (getattr(row, f"{figures}_reason") for row in rows)))
            command = commands.portable_command("bench", files.folder, f"--{figures}")
            gaps.append(Missing(name, "; ".join(reasons) or "not measured", command))
    return gaps


def _grouped(pairs: Iterable[tuple[str, str]], command: str | None = None, *, possible: bool = False) -> list[Missing]:
    """Return each reason once, with everything that it holds for."""
    return [
        Missing(", ".join(items), reason, command, possible=possible) for reason, items in group_names(pairs).items()
    ]
