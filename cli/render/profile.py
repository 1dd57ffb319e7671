"""Output of ``bench --profile``: the network's parts, a column for each profiled row."""

from rich.markup import escape

from bench.results.profile_record import NO_PROFILE, ProfileRecord
from bench.results.result import Result, Row
from bench.sessions.exported import TORCH_FORMS
from bench.sessions.parts import PARTS
from cli.console import out, table


def print_profile(result: Result) -> None:
    """Print each part's share of the macs and of the time, if there is a profile."""
    profiled = [(row, row.profile) for row in result.rows if row.profile is not None]
    if profiled:
        out.print("\n[bold]Profile[/]: share of the layers' time")
        graphs = {_graph(row): profile for row, profile in profiled}
        grid = table("part", *graphs, *(f"{row.runtime} {row.precision}" for row, _ in profiled))
        for index, part in enumerate(PARTS):
            macs = (f"{profile.parts[index].macs_share:.1%}" for profile in graphs.values())
            grid.add_row(part, *macs, *(f"{profile.parts[index].time_share:.1%}" for _, profile in profiled))
        out.print(grid)
        for row, profile in profiled:
            out.print(f"profiled {row.id}: {escape(_quality(profile))}", soft_wrap=True)
    for row in result.rows:
        if row.profile is None and row.profile_reason != NO_PROFILE:
            out.print(f"[dim]no profile[/] {row.id}: {escape(str(row.profile_reason))}", soft_wrap=True)


def _graph(row: Row) -> str:
    """Return the graph of a row; the rewritten one has fewer macs, since its last upsampling comes last."""
    return "macs as released" if row.runtime in TORCH_FORMS else "macs as exported"


def _quality(profile: ProfileRecord) -> str:
    """Return figures that show whether the profile is reliable."""
    figures = [
        f"layers {profile.layers_ms:.2f} ms of a call's {profile.call_mean_ms:.2f} "
        f"(means of {profile.runs}, by {profile.source})",
        f"profiled p50 {profile.call_p50_ms:.2f} ms = {profile.slowdown:.0%} of {profile.unprofiled_p50_ms:.2f} "
        "unprofiled",
        f"{profile.attributed:.1%} attributed",
    ]
    return "; ".join([*figures, *([profile.remark] if profile.remark else [])])
