"""Pages: of one model, of several models on one machine, and of several devices."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.environment import identity
from bench.fleet.record import FLEET
from bench.report import commands
from bench.report.charts.pareto import pareto
from bench.report.charts.speed_up import speed_up
from bench.report.device_facts import different_settings, facts_table
from bench.report.gaps import Located, gaps_of, untested
from bench.report.measurement import Measurement, references_of
from bench.report.model_files import ModelFiles
from bench.report.recommend import Choice, recommend
from bench.report.sections.answers import answers
from bench.report.sections.decision import decision, decision_table, side_by_side
from bench.report.sections.export import architecture, exported_files, gate, joints
from bench.report.sections.measured import chart_sections, devices
from bench.report.views import Answer, Page, Section
from export.errors import BadInput
from export.parity import PASSED

WEIGHTS = {
    "stand-in": "weights: stand-in — latency is meaningful, poses are not",
    "demo": "weights: demo — trained on drawn figures, so that its poses say nothing about people",
}
"""What qualifies a whole page, by the origin of the weights."""


Made = tuple[Page, tuple[Choice, ...]]
"""A page, and the choices that it shows."""


def model_page(of: Measurement, files: ModelFiles, on_devices: Sequence[Measurement]) -> Made:
    """Return the page of one model, with what devices reported about it."""
    choice = recommend(of)
    device_choices = [recommend(one) for one in on_devices]
    gaps = [*gaps_of([choice]), *gaps_of(device_choices)]
    manifest = files.manifest
    sections = [
        decision(choice),
        *([gate(files.comparison)] if files.comparison else []),
        *chart_sections(choice),
        joints(files),
        *([devices(device_choices)] if device_choices else []),
        untested(gaps, several=bool(device_choices)),
        architecture(files),
        exported_files(files),
        _reproduce([files]),
    ]
    machine = of.facts.get("processor") or (files.first_table.machine.cpu if files.first_table else "no machine yet")
    page = Page(
        title=f"{of.model} on {machine}",
        subtitle=f"{of.source}, {manifest.counts.parameters:,} parameters, {manifest.counts.macs / 1e9:.3f} GMACs",
        answers=answers([choice], gaps),
        sections=tuple(sections),
        notices=_notices(of),
        facts=tuple(of.facts.items()),
    )
    return page, (choice,)


def models_page(measurements: Sequence[Measurement]) -> Made:
    """Return the page of several models on one machine; none is ranked.

    Raises:
        BadInput: two were measured on different machines, or with different software.
    """
    require_same_machine(measurements)
    counts = Counter(of.model for of in measurements)
    named = [replace(of, model=f"{of.model} ({of.source})") if counts[of.model] > 1 else of for of in measurements]
    facts = next((of.facts for of in named if of.facts), {})
    choices, files = tuple(map(recommend, named)), [of.export for of in named if of.export]
    chart, reproduce = pareto(choices), _reproduce(files, commands.report(*(of.source for of in named)))
    charts = [Section("pareto", "Latency against accuracy", charts=(chart,))] if chart else []
    said, sections = _side_by_side(choices, (), charts)
    page = Page(
        title=f"{', '.join(of.model for of in named)} on {facts.get('processor', 'no machine yet')}",
        subtitle="Several models on one machine, each measured in a run of its own.",
        answers=said,
        sections=(*sections, reproduce),
        notices=tuple(f"{of.model}: {notice}" for of in named for notice in _notices(of)),
        facts=tuple(facts.items()),
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
) -> Made:
    """Return the page of several devices; milliseconds are never compared across devices.

    Args:
        title: names the devices.
        subtitle: says where the measurements come from.
        measurements: one for each device and model.
        notices: what qualifies all of them.
        gaps: what was not tested and belongs to none of them.
        reproduce: the commands that make the page again.
    """
    choices = tuple(map(recommend, measurements))
    table = Section("devices", "The devices, and what differs", tables=(facts_table(measurements),))
    said, sections = _side_by_side(choices, gaps, [table])
    of_each = dict.fromkeys(notice for one in measurements for notice in _notices(one))
    page = Page(
        title=title,
        subtitle=subtitle,
        answers=said,
        sections=(*sections, Section("reproduce", "Reproduce", commands=reproduce, folded=True)),
        notices=(*notices, *different_settings(measurements), *of_each),
    )
    return page, choices


def _side_by_side(
    choices: Sequence[Choice], others: Sequence[Located], extra: Sequence[Section]
) -> tuple[tuple[Answer, ...], tuple[Section, ...]]:
    """Return answers and sections of several measurements: the usual tables, with columns that tell them apart."""
    of = [choice.measurement for choice in choices]
    reference, gaps, chart = references_of(of), gaps_of(choices, others), speed_up(of)
    passed = [f"{choice.measurement.label}: {text}." for choice in choices for text in choice.passed_over]
    lead = f"Over {reference}. Only rows of one measurement compare."
    sections = (
        side_by_side(choices),
        Section("rows", "Every row", tuple(passed), tables=(decision_table(choices, reference),)),
        Section("speed-up", "Speed-up over the reference", (lead,), charts=(chart,) if chart else ()),
        *extra,
        untested(gaps, several=True),
    )
    return answers(choices, gaps), sections


def _notices(of: Measurement) -> tuple[str, ...]:
    """Say what qualifies everything about a measurement."""
    notices = [WEIGHTS[of.weights]] if of.weights in WEIGHTS and (of.missing is None or not of.device) else []
    if not of.complete:
        notices.append("the benchmark was interrupted: this is what was measured until then")
    parity = of.export.manifest.parity if of.export and not of.device else []
    wrong = [f"{one.get('edition') or one['precision']} ({one['outcome']})" for one in parity]
    failed = [text for text, one in zip(wrong, parity, strict=True) if one["outcome"] != PASSED]
    return (*notices, *([f"parity not passed: {', '.join(failed)}; do not ship them"] if failed else []))


def _reproduce(files: Sequence[ModelFiles], report: str | None = None) -> Section:
    each = [command for one in files for command in commands.reproduce(one)]
    made = (*each, report or commands.report(files[0].folder))
    prints = ", ".join(dict.fromkeys(one.result.fingerprint for one in files if one.result))
    lead = (f"Results with another fingerprint than {prints} are never compared in milliseconds.",) if prints else ()
    return Section("reproduce", "Reproduce", lead, commands=made, folded=True)


def require_same_machine(measurements: Sequence[Measurement]) -> None:
    """Check that milliseconds of these measurements may stand in one table.

    Raises:
        BadInput: machine or software differ.
    """
    results = [(of.source, of.result) for of in measurements if of.result]
    for folder, result in results[1:]:
        first, base = results[0]
        assert base is not None
        assert result is not None
        if result.fingerprint != base.fingerprint:
            differs = "; ".join(_differences(identity(base.environment), identity(result.environment)))
            run = Path(folder).resolve().parents[1]
            do = "measure all of them on one machine with one installation, or make a report of each"
            do += f"; the devices of the run: {commands.report(run)}" if (run / FLEET).is_file() else ""
            raise BadInput(f"{first} and {folder} were not measured alike", differs or "their fingerprints", do)


def _differences(ours: Mapping[str, Any], others: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in dict.fromkeys([*ours, *others]):
        a, b = ours.get(name), others.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: {json.dumps(a, ensure_ascii=False)}, {json.dumps(b, ensure_ascii=False)}")
    return found
