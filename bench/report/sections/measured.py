"""The charts of one measurement, and the section of device reports."""

from collections.abc import Sequence

from bench.report.charts.pareto import pareto
from bench.report.charts.speed_up import speed_up
from bench.report.device_facts import different_settings, facts_table
from bench.report.measurement import references_of
from bench.report.recommend import Choice
from bench.report.rows import in_order, name_of
from bench.report.sections.decision import decision_table
from bench.report.views import Chart, Section, Table, line
from bench.results import cells
from bench.results.result import Row
from bench.sessions.exported import TORCH_FORMS


def chart_section(chart: Chart) -> Section:
    """Return a section whose title is the chart's message."""
    return Section(chart.id, chart.title, charts=(chart,), half=True)


def chart_sections(choice: Choice) -> list[Section]:
    """Return the charts of one measurement; where there is nothing to draw, "Not tested" has the reason."""
    return [chart_section(chart) for chart in (pareto([choice]), speed_up([choice])) if chart]


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


def devices(choices: Sequence[Choice]) -> Section:
    """Return what devices reported about bundles of one export: the decision table with a column for the device."""
    measurements = [choice.measurement for choice in choices]
    chart, reference = speed_up(choices), references_of(measurements)
    lead = f"Speed-ups are over {reference}. Milliseconds of two devices do not compare."
    return Section(
        "devices",
        "On devices",
        (lead, *different_settings(measurements)),
        tables=(decision_table(choices, reference), facts_table(measurements)),
        charts=(chart,) if chart else (),
    )
