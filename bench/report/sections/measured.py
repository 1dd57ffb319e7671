"""The sections that are a chart: each says what to read in it, or what is missing and the command that makes it."""

from collections.abc import Iterable, Sequence

from bench.report import commands
from bench.report.charts.pareto import pareto
from bench.report.charts.parts import parts
from bench.report.charts.speed_up import speed_up
from bench.report.charts.tail import tail
from bench.report.charts.throughput import throughput
from bench.report.device_facts import different_settings, facts_table
from bench.report.measurement import Measurement
from bench.report.model_files import ModelFiles
from bench.report.recommend import Choice
from bench.report.sections.decision import decision_table
from bench.report.views import Chart, Missing, Section
from bench.result import Result

UNRANKED = "too few rows may be ranked; more rounds on a quieter machine may help"
SAMPLES_GONE = "samples.npz, which holds the raw latencies, is not beside the result"


def chart_sections(choice: Choice, files: ModelFiles, result: Result) -> list[Section]:
    """Return the charts of one measurement; a pass that was not asked for is listed as not tested."""
    of, longer = choice.measurement, commands.longer_bench(files)
    profiled = _first(row.profile_reason for row in of.rows)
    streamed = _first(row.throughput_reason for row in of.rows)
    samples = tail(of.rows, files.samples) if files.samples is not None else None
    ranked_throughput = UNRANKED if any(row.throughput for row in of.rows) else streamed
    return [
        _section(pareto([choice]), "pareto", "Latency against accuracy", PARETO, UNRANKED, longer),
        _section(speed_up([of]), "speed-up", "Speed-up over the reference", SPEED_UP, UNRANKED, longer),
        _section(
            *(samples, "tail", "How often a call is slow", TAIL),
            SAMPLES_GONE if files.samples is None and result.samples is not None else UNRANKED,
            commands.bench(files.folder),
        ),
        _section(
            *(throughput(of.rows), "throughput", "Throughput against batch size", THROUGHPUT, ranked_throughput),
            commands.bench(files.folder, "--throughput"),
        ),
        _section(
            *(parts(of.rows), "parts", "Where the time goes", PARTS, profiled),
            commands.bench(files.folder, "--profile"),
        ),
    ]


PARETO = "Left is faster, below is more accurate."
SPEED_UP = (
    "A ratio within one round cancels what the machine did meanwhile. Grey: the difference of two instances of the "
    "reference; within it nothing is told apart."
)
TAIL = "The share of calls that took longer than so many milliseconds. Nothing is cut off."
THROUGHPUT = "A closed loop, apart from the latency rounds."
PARTS = "A mark right of its bar takes more time than its share of the multiply-accumulates."


def devices(measurements: Sequence[Measurement], choices: Sequence[Choice], reference: str) -> Section:
    """Return what devices reported about bundles of one export: the decision table with a column for the device."""
    chart = speed_up(measurements)
    lead = f"Speed-ups are over {reference}. Milliseconds of two devices do not compare."
    tables = (decision_table(choices, reference), facts_table(measurements))
    charts = (chart,) if chart else ()
    return Section("devices", "On devices", (lead, *different_settings(measurements)), tables=tables, charts=charts)


def _section(chart: Chart | None, identity: str, title: str, lead: str, why: str, command: str) -> Section:
    if chart is not None:
        return Section(identity, title, (lead,), charts=(chart,), half=True)
    return Section(identity, title, missing=(Missing(title.lower(), why, command),), half=True)


def _first(reasons: Iterable[str | None]) -> str:
    return next((reason for reason in reasons if reason), "not measured")
