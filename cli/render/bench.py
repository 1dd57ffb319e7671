"""Output of ``bench --verbose``: every table, and everything that qualifies it."""

from pathlib import Path
from statistics import median

from rich.markup import escape

from bench.report.rows import with_trusted_speed_ups
from bench.results import cells as worded
from bench.results.result import Latency, Result, Row
from bench.stats.quality import OVERHEAD_NS, OVERHEAD_SHARE
from cli.console import out, table
from cli.render.decision import VERDICT_STYLE
from cli.render.passes import print_passes
from cli.render.profile import print_profile
from export.parity.budgets import WITHIN_ROUNDING
from export.runtime.processor import limit_note

HEADLINE = "host_e2e"


def print_benchmark(result: Result, path: Path) -> None:
    """Print parity, latency, speed-up and quality of every row, and everything that qualifies them."""
    result = result.model_copy(update={"rows": list(with_trusted_speed_ups(result.rows))})
    _print_header(result)
    grid = table(
        *("runtime", "precision", "mean error (mm)", "p50 or range (ms)", "p90 ≤ bound (ms)", "p99 ≤ bound (ms)"),
        *("samples in rounds", "speed-up", "best images/s (batch × in flight; calls)", "cold start (s) (processes)"),
        *("peak (MiB)", "quality"),
    )
    for row in result.rows:
        grid.add_row(*_cells(row))
    out.print(grid)
    _print_boundaries(result)
    _print_harness(result)
    print_passes(result)
    print_profile(result)
    control = result.control
    if control is not None:
        interval = f"{control.median:.3f} \\[{control.low:.3f}, {control.high:.3f}]"
        out.print(f"control: A′ over A {interval}, {control.rounds} rounds, {HEADLINE}")
    for row in result.rows:
        style = VERDICT_STYLE[row.verdict]
        out.print(f"[{style}]{row.verdict}[/] {row.id}: {escape('; '.join(row.reasons))}", soft_wrap=True)
    for skipped in result.not_run:
        name = f"{skipped.runtime} {skipped.precision or ''}".strip()
        out.print(f"[dim]not measured[/] {name}: {escape(skipped.reason)}", soft_wrap=True)
    out.print(f"all details: {escape(str(path))}", soft_wrap=True)


def _print_header(result: Result) -> None:
    mark = f"  [yellow]weights: {result.weights}[/]" if result.weights != "checkpoint" else ""
    host = result.environment["host"]
    out.print(f"\n[bold]Latency[/] of {escape(result.model)}, batch 1, boundary {HEADLINE} (NumPy to NumPy){mark}")
    if not result.complete:
        out.print("[red bold]interrupted:[/] these are the measurements until then")
    threads = result.protocol["threads"]
    cores = f"{host['usable_cores']} cores{limit_note(host.get('cpu_limit'))}"
    out.print(f"{escape(host['cpu'])}, {cores}, {threads} threads each; {_protocol(result)}")


def _protocol(result: Result) -> str:
    stop = f", ended because {result.stop_reason}" if result.stop_reason else ""
    launches = result.protocol.get("launches", 1)
    split = f" over {launches} launches" if launches > 1 else ""
    images = f"; parity of {count} images" if (count := result.protocol.get("images")) else ""
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
    status, mean = str(row.parity.get("status", row.parity["outcome"])), row.parity.get("mean_mm")
    style = {"pass": "green", WITHIN_ROUNDING: "yellow"}.get(status, "red")
    return f"[{style}]{status}[/]" + (f" {mean:.3g}" if mean is not None else "")


def _p50(row: Row, latency: Latency | None) -> str:
    if latency is None:
        return "–"
    return worded.milliseconds(row.verdict, latency.p50_ms, latency.round_median_low_ms, latency.round_median_high_ms)


def _percentile(row: Row, latency: Latency | None, quantile: float) -> str:
    if latency is None:
        return "–"
    percentile = next(p for p in latency.percentiles if p.quantile == quantile)
    counts = {"samples": latency.samples, "floor": percentile.floor, "rounds": latency.rounds}
    return worded.percentile(row.verdict, percentile.value_ms, percentile.upper_ms, **counts)


def _speed_up(row: Row) -> str:
    if row.is_reference:
        return "1"
    ratio = row.speed_up
    if ratio is None:
        return "–"
    interval = escape(worded.ratio(ratio.median, ratio.low, ratio.high))
    return f"same {interval}" if ratio.same else interval


def _best(row: Row) -> str:
    best = row.best_throughput
    if best is None:
        return "–"
    if row.verdict == "unstable":
        return "n/a (unstable)"
    return f"{best.images_per_s:.1f} ({best.batch} × {best.in_flight}; {best.calls})"


def _cold_start(row: Row) -> str:
    """Return the time to the first result, as the median over processes."""
    if (start := row.cold_start) is None:
        return "–"
    totals = [sum(parts) / 1e3 for parts in zip(start.import_ms, start.load_ms, start.first_ms, strict=True)]
    return f"{median(totals):.1f} ({start.processes})"


def _print_boundaries(result: Result) -> None:
    """Print every boundary of every row, with its number of samples."""
    deadlines = _deadlines(result)
    titles = (f"later than {limit_ms:g} ms" for limit_ms in deadlines)
    grid = table("boundary", "runtime", "precision", "p50 or range (ms)", "samples", "rounds", *titles)
    for row in result.rows:
        for name, latency in row.latency.items():
            late = {
                deadline.deadline_ms: worded.missed(row.verdict, deadline.missed, deadline.high)
                for deadline in latency.deadlines
            }
            missed = [late.get(limit_ms, worded.NOTHING) for limit_ms in deadlines]
            cells = (name, row.runtime, row.precision, _p50(row, latency), str(latency.samples), str(latency.rounds))
            grid.add_row(*cells, *missed)
    if grid.row_count:
        out.print(grid)


def _print_harness(result: Result) -> None:
    """Print the time that the timing loop adds."""
    added_ns = result.harness_overhead_ns
    if added_ns is None:
        return
    fastest_ms = min((latency.p50_ms for row in result.rows for latency in row.latency.values()), default=None)
    share = added_ns / 1e6 / fastest_ms if fastest_ms else 0.0
    style = "" if added_ns <= OVERHEAD_NS and share <= OVERHEAD_SHARE else "[red]too much:[/] "
    part = f", {share:.5%} of the fastest median" if fastest_ms else ""
    out.print(f"{style}the timing loop adds {added_ns:.0f} ns to an iteration{part}{_coordinator(result)}")


def _coordinator(result: Result) -> str:
    peak_mib = result.coordinator_peak_mib
    return f"; the process that times the workers took {peak_mib:.0f} MiB" if peak_mib is not None else ""


def _deadlines(result: Result) -> list[float]:
    """Return the deadlines for which some row has enough rounds."""
    latencies = [latency for row in result.rows for latency in row.latency.values()]
    return list(dict.fromkeys(deadline.deadline_ms for latency in latencies for deadline in latency.deadlines))
