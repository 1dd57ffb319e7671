"""The head of a page, which is the decision in one sentence, and the cards that say how far to believe it."""

from collections.abc import Sequence

from bench.report import commands
from bench.report.gaps import Located
from bench.report.measurement import Measurement
from bench.report.recommend import Choice, widened
from bench.report.rows import error_mm, headline, name_of, percentile_of, title
from bench.report.views import VERDICT_TONES, Answer, Head, Tone
from bench.results import cells
from bench.results.result import Row
from export.common.plain import group_names
from export.parity.budgets import PASS, WITHIN_ROUNDING

MOST = 3
"""Details of a card; the table and the list below have all."""
FAST, WRONG, SURE, UNTESTED = "How fast is it?", "How wrong is it?", "How sure is that?", "What was not tested?"
UNKNOWN = "Unknown"
CONFIDENCE = {"stable": "high", "noisy": "medium"}


def head(choices: Sequence[Choice], reproduce: str) -> Head:
    """Return what to ship, of each measurement by itself: none is ranked against another."""
    steps = [("Copy", copy)] if len(choices) == 1 and (copy := _file(choices[0])) else []
    steps += [("Next", command)] if (command := next(filter(None, map(commands.next_step, choices)), None)) else []
    text = _sentence(choices[0]) if len(choices) == 1 else _sentence_of_all(choices)
    tone: Tone = "good" if all(choice.row and not choice.caveat for choice in choices) else "warn"
    return Head(text, tone, (*steps, ("Reproduce", reproduce)))


def answers(choice: Choice, gaps: Sequence[Located]) -> tuple[Answer, ...]:
    """Return how fast, how wrong and how sure the choice is, and what was not tested."""
    return (_fast(choice), _wrong(choice), _sure(choice), _untested(gaps))


def _sentence(choice: Choice) -> str:
    row, latency = choice.row, headline(choice.row) if choice.row else None
    if row is None or latency is None:
        rows = choice.measurement.rows
        unstable = sum(row.verdict == "unstable" for row in rows)
        reason = f"{unstable} of {len(rows)} rows are unstable" if unstable else "no row may be shipped"
        return f"Ship nothing yet: {choice.measurement.missing or reason}."
    gain = f", {row.speed_up.median:.1f}× {title(choice.measurement.reference)}" if row.speed_up else ""
    first = f"Ship {title(name_of(row))}: {latency.p50_ms:.2f} ms{gain}; {describe_error(choice, row)}."
    return f"{first} Confidence: {confidence(choice, row)}."


def _sentence_of_all(choices: Sequence[Choice]) -> str:
    places = group_names((c.measurement.label, title(name_of(c.row)) if c.row else "nothing") for c in choices)
    each = "; ".join(f"{name} for {', '.join(labels)}" for name, labels in places.items())
    return f"Ship {each}."


def _file(choice: Choice) -> str | None:
    row, files = choice.row, choice.measurement.export
    if row is None or row.artifact is None or row.artifact_bytes is None:
        return None
    path = files.folder / row.artifact if files else row.artifact
    return f"{path} ({cells.megabytes(row.artifact_bytes)})"


def describe_error(choice: Choice, row: Row) -> str:
    """Return the error against annotations and what the export adds to it, or that it is unknown."""
    for accuracy in choice.measurement.accuracy_of(row):
        if (loss := accuracy.loss) is None:
            return f"its error is {accuracy.mpjpe_mm:.0f} mm"
        change = f"adds {loss.mean:.2f} mm to" if loss.mean >= 0 else f"takes {-loss.mean:.2f} mm off"
        return f"export {change} an error of {accuracy.mpjpe_mm - loss.mean:.0f} mm"
    mean, limited = error_mm(row), choice.measurement.parity_text(row) != WITHIN_ROUNDING
    return "pose error unknown" + (
        f", export error {cells.millimetres(mean)} mm" if limited and mean is not None else ""
    )


def confidence(choice: Choice, row: Row) -> str:
    """Return the confidence in a recommended row, with half of the width of its speed-up's interval."""
    level = CONFIDENCE.get(row.verdict, "low") if choice.measurement.complete else "low"
    up = widened(row, choice.measurement.tolerance)
    return level if up is None or row.is_reference else f"{level} (±{50 * (up.high / up.low - 1):.1f} %)"


def _fast(choice: Choice) -> Answer:
    row = choice.row
    latency = headline(row) if row else None
    if row is None or latency is None:
        return Answer(FAST, UNKNOWN, tone="warn")
    tail = percentile_of(latency, 0.99)
    slow = f"; p99 {tail.value_ms:.2f} ms" if tail and tail.value_ms is not None else ""
    details = [f"p50 of {latency.samples} calls, one image each{slow}"]
    if (up := row.speed_up) is not None:
        details.append(f"{cells.ratio(up.median, up.low, up.high)} times as fast as {choice.measurement.reference}")
    if latency.deadlines:
        late = (f"than {deadline.deadline_ms:g} ms: {deadline.missed}" for deadline in latency.deadlines)
        details.append(f"calls later {', '.join(late)}")
    return Answer(FAST, f"{latency.p50_ms:.2f} ms", tuple(details), "good")


def _wrong(choice: Choice) -> Answer:
    """Answer with the pose error on annotations; the distance from the reference model is only the export error."""
    row, measurement = choice.row, choice.measurement
    if row is None:
        return _evaluated(measurement)
    accuracies, details = measurement.accuracy_of(row), []
    text = f"{accuracies[0].mpjpe_mm:.1f} mm MPJPE" if accuracies else UNKNOWN
    for accuracy in accuracies[: MOST - 1]:
        added = f"; the export adds {accuracy.loss.mean:+.2f} mm" if accuracy.loss else ""
        of_dataset = f"{accuracy.dataset.samples:,} samples of {accuracy.dataset.name}"
        details.append(f"{accuracy.mpjpe_mm:.1f} mm on {of_dataset}{added}")
    details = details or ["accuracy not evaluated"]
    mean, largest = error_mm(row), error_mm(row, "max_mm")
    if mean is not None and largest is not None:
        error = f"mean {cells.millimetres(mean)} mm, max {cells.millimetres(largest)} mm"
        details.append(f"export error, from the reference model: {error}; {measurement.parity_text(row)}")
    passed = row.parity is not None and row.parity.get("status") == PASS
    return Answer(WRONG, text, tuple(details), "" if passed and accuracies else "warn")


def _evaluated(measurement: Measurement) -> Answer:
    """Answer with the pose errors of all evaluated files, where none is recommended."""
    ranges = [
        (min(errors_mm), max(errors_mm), evaluation.dataset)
        for evaluation in measurement.evaluations
        if (errors_mm := [row.mpjpe_mm for row in evaluation.rows if row.mpjpe_mm is not None])
    ]
    details = [f"{low:.1f} to {high:.1f} mm on {data.samples:,} samples of {data.name}" for low, high, data in ranges]
    text = f"{ranges[0][0]:.1f} to {ranges[0][1]:.1f} mm MPJPE" if ranges else UNKNOWN
    return Answer(WRONG, text, tuple(details[:MOST]), "warn")


def _sure(choice: Choice) -> Answer:
    measurement, row = choice.measurement, choice.row
    if measurement.missing is not None:
        return Answer(SURE, UNKNOWN, (measurement.missing,), "warn")
    details = [] if measurement.complete else ["the run was interrupted: this is what was measured until then"]
    if row is None:
        reasons = dict.fromkeys(reason for other in measurement.rows for reason in other.reasons)
        return Answer(SURE, "Not at all", (*details, *reasons)[:MOST], "bad")
    if measurement.control is not None and not any("two instances" in reason for reason in row.reasons):
        details.append(f"two instances of the reference differ by at most {measurement.tolerance:.1%}")
    details += row.reasons
    tone = VERDICT_TONES[row.verdict] if measurement.complete else "warn"
    return Answer(SURE, f"{confidence(choice, row).capitalize()}: {row.verdict}", tuple(details[:MOST]), tone)


def _untested(gaps: Sequence[Located]) -> Answer:
    open_gaps = [gap for _, gap in gaps if gap.possible]
    impossible = [f"{len(gaps) - len(open_gaps)} not possible on this machine"] if len(gaps) > len(open_gaps) else []
    if not open_gaps:
        return Answer(UNTESTED, "Nothing that matters", tuple(impossible), "good")
    most = MOST - len(impossible)
    items = [gap.item for gap in open_gaps[:most]]
    more = len(open_gaps) - most
    if more > 0:
        items[-1] = f"{items[-1]}, and {more} more"
    count = f"{len(open_gaps)} thing{'s' * (len(open_gaps) > 1)} that matter{'s' * (len(open_gaps) == 1)}"
    return Answer(UNTESTED, count, (*items, *impossible), "warn")
