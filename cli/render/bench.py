"""The decision table: a view of ``bench.results.result``."""

from pathlib import Path
from statistics import median

from rich.markup import escape

from bench.results import cells as worded
from bench.results.result import Latency, Result, Row
from bench.stats.quality import OVERHEAD_NS, OVERHEAD_SHARE
from cli.console import out, table
from cli.render import passes as render_passes
from cli.render import profile as render_profile
from export.parity.budgets import WITHIN_ROUNDING

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
        "samples in rounds",
        "speed-up",
        "best images/s (batch × in flight; calls)",
        "cold start s (processes)",
        "peak MiB",
        "verdict",
    )
    for row in result.rows:
        shown.add_row(*_cells(row))
    out.print(shown)
    _boundaries(result)
    _harness(result)
    render_passes.passes(result)
    render_profile.profile(result)
    control = result.control
    if control is not None:
        interval = f"{control.median:.3f} \\[{control.low:.3f}, {control.high:.3f}]"
        out.print(f"control: A′ over A {interval}, {control.rounds} rounds, {HEADLINE}")
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
    launches = result.protocol.get("launches", 1)
    split = f" over {launches} launches" if launches > 1 else ""
    images = f"; parity of {found} images" if (found := result.protocol.get("images")) else ""
    return f"{result.mode}: {result.rounds} rounds in random order{split}, one process each{stop}{images}"


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
        f"{latency.samples} in {latency.rounds}" if latency else "–",
        _speed_up(row),
        _best(row),
        _cold_start(row),
        peak,
        f"[{style}]{row.verdict}[/]",
    )


def _parity(row: Row) -> str:
    if row.parity is None:
        return "–"
    status, mean = row.parity.get("status", row.parity["outcome"]), row.parity.get("mean_mm")
    style = {"pass": "green", WITHIN_ROUNDING: "yellow"}.get(status, "red")
    return f"[{style}]{status}[/]" + (f" {mean:.3g}" if mean is not None else "")


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


def _best(row: Row) -> str:
    best = row.best_throughput
    if best is None:
        return "–"
    if row.verdict == "unstable":
        return "n/a (unstable)"
    return f"{best.images_per_s:.1f} ({best.batch} × {best.in_flight}; {best.calls})"


def _cold_start(row: Row) -> str:
    """Until the first result; the median over processes."""
    if (of := row.cold_start) is None:
        return "–"
    totals = [sum(parts) / 1e3 for parts in zip(of.import_ms, of.load_ms, of.first_ms, strict=True)]
    return f"{median(totals):.1f} ({of.processes})"


def _boundaries(result: Result) -> None:
    """All boundaries, and how many samples each has."""
    deadlines = _deadlines(result)
    titles = (f"later than {deadline:g} ms" for deadline in deadlines)
    shown = table("boundary", "backend", "precision", "p50 ms or range", "samples", "rounds", *titles)
    for row in result.rows:
        for name, latency in row.latency.items():
            late = {of.deadline_ms: worded.missed(row.verdict, of.missed, of.high) for of in latency.deadlines}
            missed = [late.get(deadline, worded.NOTHING) for deadline in deadlines]
            cells = (name, row.runtime, row.precision, _p50(row, latency), str(latency.samples), str(latency.rounds))
            shown.add_row(*cells, *missed)
    if shown.row_count:
        out.print(shown)


def _harness(result: Result) -> None:
    """What the harness itself costs."""
    added_ns = result.harness_overhead_ns
    if added_ns is None:
        return
    fastest_ms = min((of.p50_ms for row in result.rows for of in row.latency.values()), default=None)
    share = added_ns / 1e6 / fastest_ms if fastest_ms else 0.0
    style = "" if added_ns <= OVERHEAD_NS and share <= OVERHEAD_SHARE else "[red]too much:[/] "
    part = f", {share:.5%} of the fastest median" if fastest_ms else ""
    out.print(f"{style}the timing loop adds {added_ns:.0f} ns to an iteration{part}{_coordinator(result)}")


def _coordinator(result: Result) -> str:
    peak_mib = result.coordinator_peak_mib
    return f"; the process that times the workers took {peak_mib:.0f} MiB" if peak_mib is not None else ""


def _deadlines(result: Result) -> list[float]:
    """Those that some row has enough rounds for."""
    latencies = [latency for row in result.rows for latency in row.latency.values()]
    return list(dict.fromkeys(of.deadline_ms for latency in latencies for of in latency.deadlines))
