"""Output of ``bench --profile``: the network's parts, a column for each profiled row."""

from rich.markup import escape

from bench.results.profile_record import NO_PROFILE, PartRecord, ProfileRecord
from bench.results.result import Result, Row
from bench.sessions.exported import TORCH_FORMS
from bench.sessions.parts import PARTS
from cli.console import out, table


def print_profile(result: Result) -> None:
    """Print each part's share of the macs, of the time and of the machine's peak, if there is a profile."""
    profiled = [(row, row.profile) for row in result.rows if row.profile is not None]
    if profiled:
        out.print("\n[bold]Profile[/]: share of the layers' time, and in brackets of the machine's peak")
        graphs = {_graph(row): profile for row, profile in profiled}
        grid = table("part", *graphs, *(f"{row.runtime} {row.precision}" for row, _ in profiled))
        for index, part in enumerate(PARTS):
            macs = (f"{profile.parts[index].macs_share:.1%}" for profile in graphs.values())
            grid.add_row(part, *macs, *(_cell(profile.parts[index]) for _, profile in profiled))
        out.print(grid)
        for row, profile in profiled:
            out.print(f"profiled {row.id}: {escape(_quality(profile))}", soft_wrap=True)
        out.print(escape(_peaks(result)), soft_wrap=True)
    for row in result.rows:
        if row.profile is None and row.profile_reason != NO_PROFILE:
            out.print(f"[dim]no profile[/] {row.id}: {escape(str(row.profile_reason))}", soft_wrap=True)


def _graph(row: Row) -> str:
    """Return the graph of a row; the rewritten one has fewer macs, since its last upsampling comes last."""
    return "macs as released" if row.runtime in TORCH_FORMS else "macs as exported"


def _cell(part: PartRecord) -> str:
    """Return ``31.0% (42%)``."""
    return f"{part.time_share:.1%}" + (f" ({part.peak_share:.0%})" if part.peak_share is not None else "")


def _quality(profile: ProfileRecord) -> str:
    """Return figures that show whether the profile is reliable."""
    figures = [
        f"layers {profile.layers_ms:.2f} ms of a call's {profile.call_mean_ms:.2f} "
        f"(means of {profile.runs}, by {profile.source})",
        f"profiled p50 {profile.call_p50_ms:.2f} ms = {profile.slowdown:.0%} of {profile.unprofiled_p50_ms:.2f} "
        "unprofiled",
        f"{profile.attributed:.1%} attributed",
        f"brackets: of the {profile.peak_precision} peak" if profile.peak_precision else "no peak to compare it with",
    ]
    return "; ".join([*figures, *([profile.remark] if profile.remark else [])])


def _peaks(result: Result) -> str:
    if not result.peaks:
        return f"no peak of this machine: {result.peaks_reason}"
    best = {peak.precision: peak for peak in sorted(result.peaks, key=lambda peak: peak.gflops)}
    peaks = [f"{name} {peak.gflops:.0f} ({peak.library}, {peak.size}²)" for name, peak in sorted(best.items())]
    threads = result.protocol["threads"]
    return (
        f"peak of this machine in GFLOP/s (the fastest product of two matrices, threads: {threads}): {', '.join(peaks)}"
    )
