"""The charts of one measurement, and the section of device reports."""

from collections.abc import Sequence

from bench.report.charts.pareto import pareto
from bench.report.charts.speed_up import speed_up
from bench.report.device_facts import different_settings, facts_table
from bench.report.measurement import references_of
from bench.report.recommend import Choice
from bench.report.sections.decision import decision_table
from bench.report.views import Chart, Section


def chart_section(chart: Chart) -> Section:
    """Return a section whose title is the chart's message."""
    return Section(chart.id, chart.title, charts=(chart,), half=True)


def chart_sections(choice: Choice) -> list[Section]:
    """Return the charts of one measurement; where there is nothing to draw, "Not tested" has the reason."""
    return [chart_section(chart) for chart in (pareto([choice]), speed_up([choice])) if chart]


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
