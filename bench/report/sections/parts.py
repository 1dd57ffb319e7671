"""The share of each part of the network in the time of a row."""

from collections.abc import Sequence

from bench.report.rows import in_order, name_of
from bench.report.views import Section, Table, line
from bench.results import cells
from bench.results.result import Row
from bench.sessions.exported import TORCH_FORMS


def parts(rows: Sequence[Row]) -> list[Section]:
    """Return each part's share of the time beside its share of the multiply-accumulates, of the rows with a profile."""
    profiles = [(row, row.profile) for row in in_order(rows) if row.profile]
    if not profiles:
        return []
    exported = [profile for row, profile in profiles if row.runtime not in TORCH_FORMS]
    macs = {part.part: part.macs_share for part in (exported or [profiles[0][1]])[0].parts}
    shares = [{part.part: f"{part.time_share:.0%}" for part in profile.parts} for _, profile in profiles]
    names = dict.fromkeys([*macs, *(name for share in shares for name in share)])
    lines = [
        line(name, f"{macs.get(name, 0.0):.0%}", *(share.get(name, cells.NOTHING) for share in shares))
        for name in names
    ]
    attributed = ", ".join(f"{profile.attributed:.0%} of {name_of(row)}" for row, profile in profiles)
    remarks = [f" {name_of(row)}: {profile.remark}." for row, profile in profiles if profile.remark]
    caption = (
        "Share of the time of each row, beside the share of the multiply-accumulates (MACs). "
        f"Attributed to a part: {attributed}.{''.join(remarks)}"
    )
    table = Table(caption, ("part", "MACs", *(name_of(row) for row, _ in profiles)), tuple(lines))
    return [Section("parts", "Where the time goes", tables=(table,), folded=True)]
