"""The decision table: a view of ``bench.result``."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.markup import escape

from bench import cells as worded
from bench.result import Latency, Result, Row
from cli import render_profile
from cli.console import out, table

VERDICT_STYLE = {"stable": "green", "noisy": "yellow", "unstable": "red", "invalid": "red"}
HEADLINE = "host_e2e"


def bench(result: Result, path: Path) -> None:
    """Parity, latency, speed-up and verdict of every row; then all that qualifies them."""
    _banner(result)
    shown = table(
        "backend",
        "precision",
        "parity mean mm",
        "p50 ms or range",
        "p90 ms ≤ bound",
        "p99 ms ≤ bound",
        "speed-up",
        "peak MiB",
        "verdict",
    )
    for row in result.rows:
        shown.add_row(*_cells(row))
    out.print(shown)
    _boundaries(result)
    _starts(result)
    _throughput(result)
    _energy(result)
    render_profile.profile(result)
    control = result.control
    if control is not None:
        out.print(f"control: A′ over A {control.median:.3f} \\[{control.low:.3f}, {control.high:.3f}]")
    for row in result.rows:
        style = VERDICT_STYLE[row.verdict]
        out.print(f"[{style}]{row.verdict}[/] {row.id}: {escape('; '.join(row.reasons))}", soft_wrap=True)
    for missing in result.not_run:
        named = f"{missing.runtime} {missing.precision or ''}".strip()
        out.print(f"[dim]not measured[/] {named}: {escape(missing.reason)}", soft_wrap=True)
    out.print(f"everything about it: {escape(str(path))}", soft_wrap=True)


def _banner(result: Result) -> None:
    mark = f"  [yellow]weights: {result.weights}[/]" if result.weights != "checkpoint" else ""
    host = result.environment["host"]
    out.print(f"\n[bold]Latency[/] of {escape(result.model)}, batch 1, boundary {HEADLINE} (NumPy to NumPy){mark}")
    if not result.complete:
        out.print("[red bold]interrupted:[/] this is what was measured until then")
    threads = result.protocol["threads"]
    out.print(f"{escape(host['cpu'])}, {host['usable_cores']} cores, {threads} threads each; {_how(result)}")


def _how(result: Result) -> str:
    stop = f", ended because {result.stop_reason}" if result.stop_reason else ""
    return f"{result.mode}: {result.rounds} rounds in random order, one process each{stop}"


def _cells(row: Row) -> tuple[str, ...]:
    style, latency = VERDICT_STYLE[row.verdict], row.latency.get(HEADLINE)
    used = "" if row.precision_used in (None, row.precision) else f" (computes {row.precision_used})"
    name = row.runtime + (" (reference)" if row.is_reference else "")
    peak = f"{row.memory.peak_mib:.0f}" if row.memory and row.memory.peak_mib else "–"
    return (
        name,
        row.precision + used,
        _parity(row),
        _p50(row, latency),
        _percentile(row, latency, 0.9),
        _percentile(row, latency, 0.99),
        _speed_up(row),
        peak,
        f"[{style}]{row.verdict}[/]",
    )


def _parity(row: Row) -> str:
    if row.parity is None:
        return "–"
    style = "green" if row.parity["outcome"] == "pass" else "red"
    mean = row.parity.get("mean_mm")
    return f"[{style}]{row.parity['outcome']}[/]" + (f" {mean:.3g}" if mean is not None else "")


def _p50(row: Row, latency: Latency | None) -> str:
    if latency is None:
        return "–"
    return worded.milliseconds(row.verdict, latency.p50_ms, latency.round_median_low_ms, latency.round_median_high_ms)


def _percentile(row: Row, latency: Latency | None, quantile: float) -> str:
    if latency is None:
        return "–"
    found = next(p for p in latency.percentiles if p.quantile == quantile)
    seen = {"samples": latency.samples, "floor": found.floor, "rounds": latency.rounds}
    return worded.percentile(row.verdict, found.value_ms, found.upper_ms, **seen)


def _speed_up(row: Row) -> str:
    if row.is_reference:
        return "1"
    found = row.speed_up
    if found is None:
        return "–"
    interval = escape(worded.ratio(found.median, found.low, found.high))
    return f"same {interval}" if found.same else interval


def _boundaries(result: Result) -> None:
    """The other boundaries, how many samples each has, and what the harness itself costs."""
    shown = table("boundary", "backend", "precision", "p50 ms or range", "samples", "rounds", *_deadlines(result))
    for row in result.rows:
        for name, latency in row.latency.items():
            missed = [f"{d.missed} (≤ {d.high:.1%})" if row.verdict != "unstable" else "–" for d in latency.deadlines]
            cells = (name, row.runtime, row.precision, _p50(row, latency), str(latency.samples), str(latency.rounds))
            shown.add_row(*cells, *missed)
    if shown.row_count:
        out.print(shown)
    if result.harness_overhead_ns is not None:
        out.print(f"the timing loop adds {result.harness_overhead_ns:.0f} ns to an iteration")


def _starts(result: Result) -> None:
    """From the beginning of a fresh process to the first result."""
    shown = table("start", "precision", "import ms", "load ms", "first inference ms", "processes")
    for row in result.rows:
        if row.cold_start is not None:
            of = row.cold_start
            shown.add_row(
                *(row.runtime, row.precision, *map(_range, (of.import_ms, of.load_ms, of.first_ms))), str(of.processes)
            )
    if shown.row_count:
        out.print(shown)


def _range(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.0f}"
    return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _throughput(result: Result) -> None:
    """Images a second at each point, with what a call takes there."""
    shown = table("throughput", "precision", "batch", "in flight", "images/s", "p50 ms", "calls")
    for row in result.rows:
        for point in row.throughput or ():
            rates = (f"{point.images_per_s:.1f}", f"{point.p50_ms:.2f}", str(point.calls))
            shown.add_row(row.runtime, row.precision, str(point.batch), str(point.in_flight), *rates)
    if shown.row_count:
        out.print(shown)


def _energy(result: Result) -> None:
    """Joules an inference, with what they are of; why there are none, once for each reason."""
    shown = table("energy", "precision", "J gross", "J net of idle", "W", "W idle", "s", "source")
    for row in result.rows:
        if (of := row.energy) is not None:
            watts = (f"{of.power_w:.1f}", f"{of.idle_w:.1f}", f"{of.seconds:.0f}")
            shown.add_row(row.runtime, row.precision, f"{of.gross_j:.3g}", f"{of.net_j:.3g}", *watts, of.source)
    if shown.row_count:
        out.print(shown)
    for caveat in dict.fromkeys(row.energy.caveat for row in result.rows if row.energy is not None):
        out.print(f"energy: {escape(caveat)}")
    for reason in dict.fromkeys(row.energy_reason for row in result.rows if row.energy is None):
        if reason is not None and result.protocol.get("energy"):
            out.print(f"[dim]energy not available:[/] {escape(reason)}", soft_wrap=True)


def _deadlines(result: Result) -> list[str]:
    latencies = [latency for row in result.rows for latency in row.latency.values()]
    return [f"later than {d.deadline_ms:g} ms" for d in latencies[0].deadlines] if latencies else []
