"""Output of ``bench --verbose``: the report's tables, and everything that qualifies them."""

from rich.markup import escape

from bench.report.recommend import Choice
from bench.report.sections.decision import decision_table
from bench.report.sections.parts import parts
from bench.results import cells
from bench.results.result import Result
from bench.stats.quality import OVERHEAD_NS, OVERHEAD_SHARE
from cli.console import out
from cli.render.decision import missing_figures
from cli.render.text import safe
from cli.render.view import print_view


def print_benchmark(choice: Choice, result: Result) -> None:
    """Print every row with all columns, the time of each part of the network, and what was not measured."""
    measurement = choice.measurement
    out.print()
    print_view(decision_table([choice], measurement.reference))
    for section in parts(measurement.rows):
        for view in section.tables:
            print_view(view)
    stop = f", ended because {result.stop_reason}" if result.stop_reason else ""
    launches = result.protocol.get("launches", 1)
    split = f" over {launches} launches" if launches > 1 else ""
    out.print(f"{result.mode}: {result.rounds} rounds in random order{split}, one process each{stop}")
    if (control := result.control) is not None:
        interval = escape(cells.ratio(control.median, control.low, control.high))
        out.print(f"control: the reference over itself {interval}, {control.rounds} rounds")
    _print_harness(result)
    for skipped in result.not_run:
        out.print(f"[dim]not measured[/] {skipped.name}: {escape(skipped.reason)}")
    for figures, reason in missing_figures(result.rows):
        out.print(f"[dim]no {escape(figures)}[/]: {safe(reason)}")


def _print_harness(result: Result) -> None:
    """Print the time that the timing loop adds."""
    added_ns = result.harness_overhead_ns
    if added_ns is None:
        return
    fastest_ms = min((latency.p50_ms for row in result.rows for latency in row.latency.values()), default=None)
    share = added_ns / 1e6 / fastest_ms if fastest_ms else 0.0
    style = "" if added_ns <= OVERHEAD_NS and share <= OVERHEAD_SHARE else "[red]too much:[/] "
    part = f", {share:.5%} of the fastest median" if fastest_ms else ""
    peak_mib = result.coordinator_peak_mib
    coordinator = f"; the process that times the workers took {peak_mib:.0f} MiB" if peak_mib is not None else ""
    out.print(f"{style}the timing loop adds {added_ns:.0f} ns to an iteration{part}{coordinator}")
