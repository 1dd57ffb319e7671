"""Pages: of one model, of several models on one machine, and of several devices."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.fleet.record import FLEET
from bench.machine.environment import identity
from bench.report import commands
from bench.report.charts.pareto import pareto
from bench.report.charts.speed_up import speed_up
from bench.report.device_facts import different_settings, facts_table
from bench.report.gaps import Located, gaps_of, untested
from bench.report.measurement import Measurement, references_of
from bench.report.model_files import ModelFiles
from bench.report.recommend import CAVEATS, Choice, recommend
from bench.report.sections.answers import answers, head
from bench.report.sections.decision import decision, decision_table, side_by_side
from bench.report.sections.export import architecture, exported_files, gate, joints
from bench.report.sections.parts import parts
from bench.report.views import Chart, Page, Section
from export.common.errors import BadInput
from export.parity.budgets import PASS

Content = tuple[Page, tuple[Choice, ...]]
"""A page, and the choices that it shows."""


def model_page(measurement: Measurement, files: ModelFiles, on_devices: Sequence[Measurement]) -> Content:
    """Return the page of one model, with what devices reported about it."""
    choice = recommend(measurement)
    device_choices = [recommend(reported) for reported in on_devices]
    gaps = [*gaps_of([choice]), *gaps_of(device_choices)]
    counts, reproduce = files.manifest.counts, commands.reproduce(files)
    sections = [
        decision(choice),
        *([gate(files.comparison)] if files.comparison else []),
        *_charts(pareto([choice]), speed_up([choice])),
        *([_on_devices(device_choices)] if device_choices else []),
        untested(gaps, several=bool(device_choices)),
        *parts(measurement.rows),
        joints(files),
        architecture(files),
        exported_files(files),
        *_environment(measurement),
        _reproduce((*reproduce, commands.portable_command("report", files.folder))),
    ]
    machine = measurement.facts.get("processor", "no machine yet")
    page = Page(
        title=f"{measurement.model} on {machine}",
        subtitle=", ".join(
            (
                measurement.source,
                f"{counts.parameters:,} parameters",
                f"{counts.macs / 1e9:.3f} GMACs",
                *([f"measured {measurement.facts['measured']}"] if measurement.result else []),
            )
        ),
        head=head([choice], reproduce[1] if measurement.result else reproduce[0]),
        answers=answers(choice, gaps),
        sections=tuple(sections),
        notices=_notices(measurement),
    )
    return page, (choice,)


def models_page(measurements: Sequence[Measurement]) -> Content:
    """Return the page of several models on one machine; none is ranked.

    Raises:
        BadInput: two were measured on different machines, or with different software.
    """
    require_same_machine(measurements)
    counts = Counter(measurement.model for measurement in measurements)
    distinct = [
        measurement
        if counts[measurement.model] == 1
        else replace(measurement, model=f"{measurement.model} ({measurement.source})")
        for measurement in measurements
    ]
    measured = next((measurement for measurement in distinct if measurement.facts), distinct[0])
    choices = tuple(map(recommend, distinct))
    report = commands.portable_command("report", *(measurement.source for measurement in distinct))
    reproductions = [commands.reproduce(measurement.export) for measurement in distinct if measurement.export]
    reproduce = (*(command for each in reproductions for command in each), report)
    names = ", ".join(measurement.model for measurement in distinct)
    page = Page(
        title=f"{names} on {measured.facts.get('processor', 'no machine yet')}",
        subtitle="Several models on one machine, each measured in a run of its own.",
        head=head(choices, report),
        answers=(),
        sections=(*_side_by_side(choices, (), pareto(choices)), *_environment(measured), _reproduce(reproduce)),
        notices=tuple(f"{measurement.model}: {notice}" for measurement in distinct for notice in _notices(measurement)),
    )
    return page, choices


def devices_page(
    title: str,
    subtitle: str,
    measurements: Sequence[Measurement],
    *,
    notices: Sequence[str],
    gaps: Sequence[Located],
    reproduce: tuple[str, ...],
) -> Content:
    """Return the page of several devices; milliseconds are never compared across devices."""
    choices = tuple(map(recommend, measurements))
    table = Section("devices", "The devices, and what differs", tables=(facts_table(measurements),), folded=True)
    of_each = dict.fromkeys(notice for measurement in measurements for notice in _notices(measurement))
    page = Page(
        title=title,
        subtitle=subtitle,
        head=head(choices, reproduce[0]),
        answers=(),
        sections=(*_side_by_side(choices, gaps), table, _reproduce(reproduce)),
        notices=(*notices, *different_settings(measurements), *of_each),
    )
    return page, choices


def _charts(*charts: Chart | None) -> list[Section]:
    """Return a section for each chart, titled by its message; where there is none, "Not tested" has the reason."""
    return [Section(chart.id, chart.title, charts=(chart,), half=True) for chart in charts if chart]


def _on_devices(choices: Sequence[Choice]) -> Section:
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


def _side_by_side(
    choices: Sequence[Choice], more: Sequence[Located], chart: Chart | None = None
) -> tuple[Section, ...]:
    """Return the sections of several measurements: the usual tables, with columns that tell them apart."""
    measurements = [choice.measurement for choice in choices]
    reference, gaps = references_of(measurements), gaps_of(choices, more)
    reasons = [
        f"{choice.measurement.label}: {text}" for choice in choices for text in (choice.reason, *choice.passed_over)
    ]
    rows = Section("rows", "Every row", tuple(reasons), tables=(decision_table(choices, reference),), folded=True)
    return (side_by_side(choices), *_charts(speed_up(choices), chart), untested(gaps, several=True), rows)


def _notices(measurement: Measurement) -> tuple[str, ...]:
    """Return the notices about a measurement."""
    unknown = measurement.missing is not None and measurement.device
    notices = [CAVEATS[measurement.weights]] if measurement.weights in CAVEATS and not unknown else []
    if not measurement.complete:
        notices.append("the benchmark was interrupted: the figures are those until then")
    parity = measurement.export.manifest.parity if measurement.export and not measurement.device else []
    failed = [f"{report.variant} ({report.outcome})" for report in parity if report.outcome != PASS]
    return (*notices, *([f"parity not passed: {', '.join(failed)}; do not ship them"] if failed else []))


def _environment(measurement: Measurement) -> list[Section]:
    table = facts_table([measurement])
    return [Section("environment", "Environment", tables=(table,), folded=True)] if measurement.facts else []


def _reproduce(every: tuple[str, ...]) -> Section:
    return Section("reproduce", "Reproduce", commands=every, folded=True)


def require_same_machine(measurements: Sequence[Measurement]) -> None:
    """Check that one table may have the milliseconds of these measurements.

    Raises:
        BadInput: machine or software differ.
    """
    results = [(measurement.source, result) for measurement in measurements if (result := measurement.result)]
    for folder, result in results[1:]:
        first, base = results[0]
        if result.fingerprint != base.fingerprint:
            first_machine, machine = identity(base.environment), identity(result.environment)
            differs = "; ".join(
                f"{name}: {value}, {machine[name]}" for name, value in first_machine.items() if value != machine[name]
            )
            run = Path(folder).resolve().parent.parent
            advice = "measure all of them on one machine with one installation, or make a report of each"
            if (run / FLEET).is_file():
                advice += f"; the devices of the run: {commands.portable_command('report', run)}"
            raise BadInput(
                f"{first} and {folder} were not measured on the same machine and software",
                differs or "their fingerprints",
                advice,
            )
