"""Profile table: the network's parts, a column for each profiled row. A view of ``bench.results.result``."""

from rich.markup import escape

from bench.results.profile_record import NO_PROFILE, PartRecord, ProfileRecord
from bench.results.result import Result, Row
from bench.sessions.exported import TORCH_FORMS
from bench.sessions.parts import PARTS
from cli.console import out, table


def profile(result: Result) -> None:
    """Shares of macs, of time and of the machine's peak for each part; nothing if no profile was asked for."""
    profiled = [(row, row.profile) for row in result.rows if row.profile is not None]
    if profiled:
        out.print("\n[bold]Where the time goes[/]: share of the layers' time, and in brackets how near to the peak")
        graphs = {_graph(row): of for row, of in profiled}
        shown = table("part", *graphs, *(f"{row.runtime} {row.precision}" for row, _ in profiled))
        for index, part in enumerate(PARTS):
            macs = (f"{of.parts[index].macs_share:.1%}" for of in graphs.values())
            shown.add_row(part, *macs, *(_cell(of.parts[index]) for _, of in profiled))
        out.print(shown)
        for row, of in profiled:
            out.print(f"profiled {row.id}: {escape(_account(of))}", soft_wrap=True)
        out.print(escape(_peaks(result)), soft_wrap=True)
    for row in result.rows:
        if row.profile is None and row.profile_reason != NO_PROFILE:
            out.print(f"[dim]no profile[/] {row.id}: {escape(str(row.profile_reason))}", soft_wrap=True)


def _graph(row: Row) -> str:
    """The rewritten graph has fewer macs than the released one, where its last upsampling comes last."""
    return "macs as released" if row.runtime in TORCH_FORMS else "macs as exported"


def _cell(part: PartRecord) -> str:
    """``31.0% (42%)``."""
    return f"{part.time_share:.1%}" + (f" ({part.peak_share:.0%})" if part.peak_share is not None else "")


def _account(of: ProfileRecord) -> str:
    """How far the profile is to be believed."""
    said = [
        f"layers {of.layers_ms:.2f} ms of a call's {of.call_mean_ms:.2f} (means of {of.runs}, by {of.source})",
        f"profiled p50 {of.call_p50_ms:.2f} ms = {of.slowdown:.0%} of {of.unprofiled_p50_ms:.2f} unprofiled",
        f"{of.attributed:.1%} attributed",
        f"brackets: of the {of.peak_precision} peak" if of.peak_precision else "no peak to compare it with",
    ]
    return "; ".join([*said, *([of.remark] if of.remark else [])])


def _peaks(result: Result) -> str:
    if not result.peaks:
        return f"no peak of this machine: {result.peaks_reason}"
    best = {peak.precision: peak for peak in sorted(result.peaks, key=lambda peak: peak.gflops)}
    shown = [f"{name} {of.gflops:.0f} ({of.library}, {of.size}²)" for name, of in sorted(best.items())]
    threads = result.protocol["threads"]
    return (
        f"peak of this machine in GFLOP/s (the fastest product of two matrices, threads: {threads}): {', '.join(shown)}"
    )
