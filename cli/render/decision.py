"""The decision after a benchmark, on one screen: what to ship, each row, and the reasons."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich.markup import escape

from bench.harness.assemble import NO_ENERGY
from bench.report import commands
from bench.report.measurement import measurement_of
from bench.report.model_files import ModelFiles, read_model_files
from bench.report.recommend import Choice, recommend
from bench.report.rows import error_mm, headline, is_ranked, name_of
from bench.report.sections.answers import confidence, describe_error
from bench.results import cells
from bench.results.profile_record import NO_PROFILE
from bench.results.result import Result, Row
from bench.sessions.exported import ExportFolder
from cli.render.screen import Screen, command, shorten
from cli.render.text import safe, weights_mark
from export.common.errors import BadInput
from export.common.plain import group_names, listed

VERDICT_STYLE = {"stable": "green", "noisy": "yellow", "unstable": "red", "invalid": "red"}
MOST_REASONS = 3


def choice_of(result: Result, exported: ExportFolder) -> Choice:
    """Return what may be shipped of a benchmark, with the evaluations in the export's folder."""
    files = ModelFiles(exported.path, exported.manifest, result, (), None)
    with suppress(BadInput):  # a damaged file beside the result is the report's to refuse
        files = replace(read_model_files(exported.path), result=result)
    return recommend(measurement_of(files, commands.portable_command("bench", exported.path)))


def print_decision(choice: Choice, result: Result, exported: ExportFolder, path: Path) -> None:
    """Print what to ship, every row with its speed-up, the reasons, and what to do next."""
    rounds = f"{result.rounds} round{'s' * (result.rounds != 1)}"
    threads = result.protocol["threads"]
    machine = f"{result.environment['host']['cpu']}, {threads} thread{'s' * (threads != 1)}, {rounds}"
    head = [f"[bold]{escape(result.model)}[/] on {escape(machine)}{weights_mark(result.weights)}"]
    if not result.complete:
        head.append("[red bold]interrupted:[/] these are the measurements until then")
    Screen(
        head=[*head, *describe_choice(choice)],
        columns=("runtime, precision", "p50 (ms)", "speed-up [95 %]", "error (mm)", "quality"),
        rows=[*map(_cells, sorted(choice.measurement.rows, key=_order))],
        tail=list(_reasons(choice)),
        details=f"{path}, or --verbose",
        commands=list(_next(choice, exported)),
    ).show()


CHOICE_COLUMNS = ("model", "ship", "p50 (ms)", "speed-up [95 %]", "quality")


def choice_cells(choice: Choice) -> tuple[str, ...]:
    """Return what to ship of one of several measurements, as a row of ``CHOICE_COLUMNS``."""
    label, row = safe(choice.measurement.label), choice.row
    if row is None:
        return label, "[yellow]nothing[/]", cells.NOTHING, cells.NOTHING, cells.NOTHING
    name, p50, speed_up, _, quality = _cells(row)
    return label, name, p50, speed_up, quality


def choice_reasons(choices: Sequence[Choice]) -> Iterator[str]:
    """Yield why nothing may be shipped, and the caveats, each once."""
    reasons = group_names((c.measurement.label, c.reason) for c in choices if c.row is None)
    caveats = group_names((c.measurement.label, c.caveat) for c in choices if c.caveat)
    for reason, names in (*reasons.items(), *caveats.items()):
        yield f"[yellow]{safe(listed(names))}:[/] {safe(shorten(reason))}"


def describe_choice(choice: Choice) -> list[str]:
    """Return what to ship, how wrong and how sure that is, and why; or why nothing may be shipped."""
    row = choice.row
    if row is None:
        lines = [f"[yellow bold]nothing to recommend:[/] {safe(shorten(choice.reason, 220))}"]
    else:
        file = f"[green bold]{safe(name_of(row))}[/] ({safe(row.artifact or 'its engine')})"
        lines = [
            f"ship {file}, [{VERDICT_STYLE[row.verdict]}]{row.verdict}[/]",
            safe(f"{describe_error(choice, row)}; confidence: {confidence(choice, row)}"),
            safe(shorten(choice.reason, 220)),
        ]
    passed_over = sorted(choice.passed_over, key=lambda text: "evaluate" not in text)  # what a command can change
    notes = [*map(shorten, passed_over[:1]), *([choice.caveat] if choice.caveat else [])]
    return [*lines, *(f"[yellow]note[/] {safe(text)}" for text in notes)]


def _cells(row: Row) -> tuple[str, ...]:
    error, latency = error_mm(row), headline(row)
    p50 = cells.NOTHING
    if latency is not None:
        low_ms, high_ms = latency.round_median_low_ms, latency.round_median_high_ms
        p50 = cells.milliseconds(row.verdict, latency.p50_ms, low_ms, high_ms)
    shown_error = cells.NOTHING if error is None else f"{error:.2g}"
    return name_of(row), p50, _speed_up(row), shown_error, f"[{VERDICT_STYLE[row.verdict]}]{row.verdict}[/]"


def _speed_up(row: Row) -> str:
    if row.is_reference:
        return "1 (reference)"
    ratio = row.speed_up
    if ratio is None:
        return cells.NOTHING
    return ("same " if ratio.same else "") + escape(cells.ratio(ratio.median, ratio.low, ratio.high))


def _order(row: Row) -> tuple[bool, bool, float]:
    """Return a sort key: the reference, then rows that may be ranked, the fastest first."""
    latency = headline(row)
    return not row.is_reference, not is_ranked(row), latency.p50_ms if latency else float("inf")


def _reasons(choice: Choice) -> Iterator[str]:
    """Yield why rows are not stable, and what was not measured, each reason once."""
    rows = choice.measurement.rows
    poor = [
        (name_of(row), f"{row.verdict}: {row.reasons[0]}") for row in rows if row.reasons and row.verdict != "stable"
    ]
    for reason, names in list(group_names(poor).items())[:MOST_REASONS]:
        who = "every row" if len(names) == len(rows) > 1 else listed(names)
        yield f"[dim]{escape(who)}[/] {safe(shorten(reason))}"
    converted = [
        (name_of(row), str(row.precision_used)) for row in rows if row.precision_used not in (None, row.precision)
    ]
    if converted:
        texts = (f"{listed(names)} in {used}" for used, names in group_names(converted).items())
        yield f"[dim]computed[/] {escape('; '.join(texts))}"
    if skipped := [row.name for row in choice.measurement.not_run]:
        yield f"[dim]not measured[/] {escape(listed(skipped))}"
    for figures, reason in missing_figures(rows):
        yield f"[dim]no {escape(figures)}[/] {safe(shorten(reason))}"


def missing_figures(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield passes that were requested and have no figures, with their rows, and the reason; invalid rows have one."""
    timed = [row for row in rows if row.verdict != "invalid"]
    for name in ("image to joints", "throughput", "profile", "energy"):
        reasons = [(name_of(row), getattr(row, f"{name.replace(' ', '_')}_reason")) for row in timed]
        pairs = [(row, reason) for row, reason in reasons if reason and reason not in (NO_PROFILE, NO_ENERGY)]
        for reason, names in group_names(pairs).items():
            yield f"{name} of {listed(names)}", reason


def _next(choice: Choice, exported: ExportFolder) -> Iterator[str]:
    if text := commands.next_step(choice):
        yield text
    if choice.measurement.weights != "stand-in" and not choice.measurement.evaluations:
        yield command("evaluate", exported.path)
    yield command("report", exported.path)
