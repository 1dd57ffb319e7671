"""The sections that are a figure or two: each says what to read in it, or what is missing for it and what makes it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.report import commands
from bench.report.figures import forest, pareto, parts, tail, throughput, trace
from bench.report.recommend import Recommendation
from bench.report.sections.passes import launches, photo
from bench.report.subject import Bench, Subject
from bench.report.views import Cell, Figure, Line, Missing, Section, Table
from bench.stopping import StopRule

UNRANKED = "no row may be ranked: the decision table says why of each; more rounds on a quieter machine may help"
FEW = "fewer than two rows may be ranked; more rounds on a quieter machine may help"
USUAL_BUDGET_S = StopRule().budget_s
LONGER = 3
"""So many times the budget is advised where rows could not be ranked: an interval narrows with the root of it."""


def figure_sections(subject: Subject, found: Recommendation) -> list[Section]:
    """In the order of the page."""
    return [
        _pareto(subject, found),
        _forest(subject),
        _tail(subject),
        _trace(subject),
        _throughput(subject),
        photo(subject),
        _parts(subject),
    ]


def _pareto(subject: Subject, found: Recommendation) -> Section:
    lead = "Left is faster, below is more accurate, larger needs more memory. Dotted: rows that none beats in both."
    figure = pareto.pareto(subject.rows, found.row)
    return _of("pareto", "Latency against accuracy", subject, lead, [figure], FEW)


def _forest(subject: Subject) -> Section:
    control = subject.bench.control if subject.bench else None
    lead = (
        "A ratio within the same round cancels what the machine did meanwhile, so it can be believed more than any ms. "
        "The grey band is what two instances of the reference differ by: within it nothing is told apart."
    )
    figure = forest.forest(subject.rows, control)
    section, table = (
        _of("speed-up", "Speed-up over the reference", subject, lead, [figure], UNRANKED),
        launches(subject),
    )
    return replace(section, tables=(table,)) if table is not None else section


def _tail(subject: Subject) -> Section:
    lead = "Read from the left: the share of calls that took longer than so many ms. Nothing is cut off."
    figure, bench = tail.tail(subject.rows), subject.bench
    return _of("tail", "How often a call is slow", subject, lead, [figure], _no_samples(bench) or UNRANKED)


def _trace(subject: Subject) -> Section:
    lead = "Each row is visited once a round, in random order. Lines that move together are the machine, not the model."
    why = _no_samples(subject.bench) or "nothing was timed"
    title = "Round by round, and what the machine did"
    section = _of("trace", title, subject, lead, [trace.trace(subject.rows)], why)
    state = tuple(trace.machine_state(of) for of in (subject.bench.state if subject.bench else ()))
    return replace(section, figures=(*section.figures, *state))


def _throughput(subject: Subject) -> Section:
    lead = (
        "A closed loop, apart from the latency rounds: what a runtime does with more images at a time, or (open marks) "
        "more calls in flight."
    )
    figures = [throughput.throughput(subject.rows), throughput.batch_latency(subject.rows)]
    measured = any(row.throughput for row in subject.rows)
    why = UNRANKED if measured else _first_reason(row.throughput_reason for row in subject.rows)
    command = commands.bench(subject, "--throughput")
    return _of("throughput", "Throughput against batch", subject, lead, figures, why, command)


def _parts(subject: Subject) -> Section:
    lead = (
        "From a pass of its own, which slows what it looks at. A mark right of its bar takes more time than its share "
        "of the multiply-accumulates. The peak is that of the fastest type that the row computes in."
    )
    bench = subject.bench
    figures = [parts.parts(subject.rows), parts.peak(subject.rows, bench.peaks if bench else ())]
    why = _first_reason(row.profile_reason for row in subject.rows)
    section = _of("parts", "Where the time goes", subject, lead, figures, why, commands.bench(subject, "--profile"))
    accounts = [(row.name, row.profile.account) for row in subject.rows if row.profile]
    if not accounts or bench is None:
        return section
    peaks = [
        (f"peak {precision}", f"{gflops:.0f} GFLOP/s, the fastest product of two matrices ({library})")
        for precision, gflops, library in bench.peaks
    ]
    lines = tuple(Line((Cell(name), Cell(text))) for name, text in [*accounts, *peaks])
    table = Table("How far each profile is to be believed, and what the peak is.", ("of", "what"), lines)
    return replace(section, tables=(table,))


def _of(
    identity: str,
    title: str,
    subject: Subject,
    lead: str,
    figures: Sequence[Figure | None],
    why: str,
    command: str | None = None,
) -> Section:
    """With those figures that there are; without any, why."""
    drawn = tuple(figure for figure in figures if figure is not None)
    if drawn:
        return Section(identity, title, (lead,), figures=drawn)
    if subject.bench is None:
        why, command = "nothing was benchmarked", commands.bench(subject)
    elif why in (UNRANKED, FEW):
        command = commands.bench(subject, "--budget", f"{LONGER * (subject.bench.budget_s or USUAL_BUDGET_S):g}")
    return Section(identity, title, missing=(Missing(title.lower(), why, command or commands.bench(subject)),))


def _no_samples(bench: Bench | None) -> str | None:
    return bench.samples_missing if bench else None


def _first_reason(reasons: Iterable[str | None]) -> str:
    return next((reason for reason in reasons if reason), "not measured")
