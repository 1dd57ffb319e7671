"""The five questions that a reader comes with, answered before anything else."""

from collections.abc import Callable, Sequence

from bench.report import commands
from bench.report.gaps import Located
from bench.report.recommend import Choice
from bench.report.rows import error_mm, headline, name_of, parity_status, percentile_of
from bench.report.views import VERDICT_TONES, Answer, Tone
from bench.results import cells
from export.parity.budgets import PASS

MOST = 5
"""Number of measurements, reasons or gaps in an answer; the tables have all."""
SHIP, FAST, ACCURATE = "What may I ship?", "How fast is it?", "How accurate is it?"
SURE, UNTESTED = "How sure is that?", "What was not tested?"
UNKNOWN = "Unknown"


def answers(choices: Sequence[Choice], gaps: Sequence[Located]) -> tuple[Answer, ...]:
    """Answer what to ship, how fast, how accurate and how sure that is, and what was not tested."""
    if len(choices) == 1:
        (choice,) = choices
        return (_ship(choice), _fast(choice), _accurate(choice), _sure(choice), _open(gaps))
    return (
        _ship_each(choices),
        _each(FAST, choices, _fast),
        _each(ACCURATE, choices, _accurate),
        _each(SURE, choices, _sure),
        _open(gaps),
    )


def _ship(choice: Choice) -> Answer:
    """Answer in one or two sentences, with the command that comes next."""
    details, command = (choice.reason, *([choice.caveat] if choice.caveat else [])), commands.next_step(choice)
    if choice.row is None:
        text = "Unknown: nothing was measured" if choice.measurement.missing else "Nothing"
        return Answer(SHIP, text, details, "warn" if choice.measurement.missing else "bad", command)
    return Answer(SHIP, name_of(choice.row), details, "warn" if choice.caveat else "good", command)


def _fast(choice: Choice) -> Answer:
    row = choice.row
    latency = headline(row) if row else None
    if row is None or latency is None:
        return Answer(FAST, UNKNOWN, tone="warn")
    details = [f"p50 of {latency.samples} calls, one image at a time"]
    if (up := row.speed_up) is not None:
        details.append(f"{cells.ratio(up.median, up.low, up.high)} times as fast as {choice.measurement.reference}")
    for quantile in (0.9, 0.99):
        tail = percentile_of(latency, quantile)
        if tail is not None and tail.value_ms is not None:
            details.append(f"p{100 * quantile:.0f} {tail.value_ms:.2f} ms")
    for deadline in latency.deadlines:
        details.append(f"{deadline.missed} of {latency.samples} calls were later than {deadline.deadline_ms:g} ms")
    return Answer(FAST, f"{latency.p50_ms:.2f} ms", tuple(details), "good")


def _accurate(choice: Choice) -> Answer:
    """Answer with the pose error on annotations; the distance from the reference model is only the export error."""
    row = choice.row
    if row is None:
        return Answer(ACCURATE, UNKNOWN, tone="warn")
    text, details, tone = UNKNOWN, [], "warn"
    for accuracy in choice.measurement.accuracy_of(row):
        evaluated, dataset = accuracy.evaluated, accuracy.dataset
        if evaluated.mpjpe_mm is None:
            continue
        text = f"{evaluated.mpjpe_mm:.1f} mm MPJPE" if text == UNKNOWN else text
        loss = (
            f", {evaluated.accuracy_loss_mm.mean:+.2f} mm against the reference" if evaluated.accuracy_loss_mm else ""
        )
        details.append(f"MPJPE {evaluated.mpjpe_mm:.1f} mm on {dataset.samples:,} samples of {dataset.name}{loss}")
        tone = ""
    if not details:
        details.append("its poses were never compared with annotations")
    status, mean, largest = parity_status(row), error_mm(row), error_mm(row, "max_mm")
    if status is not None and mean is not None and largest is not None:
        error = f"mean {cells.millimetres(mean)} mm, max {cells.millimetres(largest)} mm"
        details.append(f"export error (distance from the reference model): {error}; parity {status}")
    return Answer(ACCURATE, text, tuple(details), "warn" if status != PASS else tone)  # type: ignore[arg-type]


def _sure(choice: Choice) -> Answer:
    measurement, row = choice.measurement, choice.row
    if measurement.missing is not None:
        return Answer(SURE, UNKNOWN, (measurement.missing,), "warn")
    details = [] if measurement.complete else ["the run was interrupted: this is what was measured until then"]
    if row is None:
        reasons = dict.fromkeys(reason for other in measurement.rows for reason in other.reasons)
        return Answer(SURE, "Not at all", (*details, *list(reasons)[:MOST]), "bad")
    if row.speed_up is not None:
        half = (row.speed_up.high / row.speed_up.low - 1) / 2
        details.append(f"the speed-up is known to ±{half:.1%} (95 %)")
    if measurement.control is not None:
        details.append(f"two instances of the reference differ by {abs(measurement.control.median - 1):.1%}")
    details += row.reasons[:2]
    return Answer(SURE, row.verdict, tuple(details), VERDICT_TONES[row.verdict] if measurement.complete else "warn")


def _open(gaps: Sequence[Located]) -> Answer:
    if not gaps:
        return Answer(UNTESTED, "Everything was", tone="good")
    first = [f"{gap.item}: {gap.reason}" for _, gap in gaps[:MOST]]
    count = f"{len(gaps)} thing{'s' * (len(gaps) > 1)}"
    return Answer(UNTESTED, count, (*first, *_remainder(len(gaps))), "warn")


def _ship_each(choices: Sequence[Choice]) -> Answer:
    """Answer for each measurement by itself: none is ranked against another."""
    names = {name_of(choice.row) for choice in choices if choice.row}
    measured = [choice for choice in choices if choice.measurement.missing is None]
    all_shipped = bool(names) and all(choice.row for choice in choices)
    caveats = tuple(dict.fromkeys(choice.caveat for choice in choices if choice.caveat))
    text = "Nothing" if not names else names.pop() if len(names) == 1 and len(measured) == 1 else "See each"
    each = [f"{choice.measurement.label}: {name_of(choice.row) if choice.row else choice.reason}" for choice in choices]
    command = next((step for choice in choices if choice.row and (step := commands.next_step(choice))), None)
    tone: Tone = "good" if all_shipped and not caveats else "warn"
    return Answer(SHIP, text, (*each[:MOST], *_remainder(len(each)), *caveats), tone, command)


def _each(question: str, choices: Sequence[Choice], ask: Callable[[Choice], Answer]) -> Answer:
    """Ask one question of each measurement."""
    pairs = [(choice.measurement.label, ask(choice)) for choice in choices]
    lines = [f"{label}: {answer.text}" for label, answer in pairs]
    tones = {answer.tone for _, answer in pairs}
    tone: Tone = "warn" if tones & {"warn", "bad"} else "good" if tones == {"good"} else ""
    return Answer(question, "See each", (*lines[:MOST], *_remainder(len(lines))), tone)


def _remainder(count: int) -> tuple[str, ...]:
    return (f"and {count - MOST} more, see below",) if count > MOST else ()
