"""The page of one model: its sections in the order in which a reader needs them."""

from bench.report.devices.from_reports import reference_of
from bench.report.devices.section import on_devices
from bench.report.recommend import NOTICES, Recommendation, recommended
from bench.report.sections.accuracy import joints
from bench.report.sections.answers import answers
from bench.report.sections.decision import decision
from bench.report.sections.elsewhere import elsewhere
from bench.report.sections.figures import figure_sections
from bench.report.sections.gate import gate
from bench.report.sections.identity import architecture, device_card, environment, files, reproduce
from bench.report.sections.untested import gaps, untested
from bench.report.subject import Subject
from bench.report.views import Page


def page_of(subject: Subject) -> tuple[Page, Recommendation]:
    """Everything that is known of it, and what to ship."""
    found, bench = recommended(subject), subject.bench
    sections = [
        decision(subject, found),
        *([gate(subject.gate)] if subject.gate else []),
        *figure_sections(subject, found),
        joints(subject),
        *([on_devices(subject.on_devices, reference_of(subject.on_devices))] if subject.on_devices else []),
        *elsewhere([subject], reports=False),
        architecture(subject),
        files(subject),
        untested(subject, found.row),
        environment(subject),
        reproduce(subject),
    ]
    machine = bench.environment.get("host", {}).get("cpu") if bench else subject.machine
    return (
        Page(
            title=f"{subject.model} on {machine or 'no machine yet'}",
            subtitle=f"{subject.folder}, {subject.parameters:,} parameters, {subject.macs / 1e9:.3f} GMACs",
            answers=answers(subject, found, gaps(subject, found.row)),
            sections=tuple(sections),
            notices=notices(subject),
            device=device_card(bench) if bench else (),
        ),
        found,
    )


def notices(subject: Subject) -> tuple[str, ...]:
    """What qualifies everything on the page."""
    said = [NOTICES[subject.weights]] if subject.weights in NOTICES else []
    if subject.bench and not subject.bench.complete:
        said.append("the benchmark was interrupted: this is what was measured until then")
    wrong = [f"{of.edition} ({of.outcome})" for of in subject.parity if of.outcome != "pass"]
    if wrong:
        said.append(f"parity is not passed by {', '.join(wrong)}: do not ship them")
    return tuple(said)
