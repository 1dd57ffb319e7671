"""The five questions that a reader comes with, answered before anything else."""

from collections.abc import Sequence

from bench import cells
from bench.report.recommend import Recommendation
from bench.report.subject import Row, Subject
from bench.report.views import Answer, Missing, Tone, parity_tone
from export.parity import EXPLAINED, PASSED

MOST = 5
"""So many things that were not tested are named in the first answer; the rest is counted."""


def answers(subject: Subject, found: Recommendation, open_points: Sequence[Missing]) -> tuple[Answer, ...]:
    """What to ship, how fast, how wrong, how sure, what was not tested."""
    return (
        _ship(subject, found),
        _fast(subject, found.row),
        _wrong(subject, found.row),
        _sure(subject, found.row),
        _open(open_points),
    )


def _ship(subject: Subject, found: Recommendation) -> Answer:
    question, caveat = "What do I ship?", [found.caveat] if found.caveat else []
    row = found.row
    if row is None:
        text = "Nothing can be recommended" if subject.bench else "Not known yet: nothing was benchmarked"
        return Answer(question, text, (found.reason, *caveat), "bad" if subject.bench else "warn")
    file = f"{row.file}, {cells.megabytes(row.file_bytes)}" if row.file and row.file_bytes else row.file or "its engine"
    about = [
        file,
        *([f"computes in {row.computes}"] if row.computes else []),
        found.reason,
        *found.passed_over,
        *caveat,
    ]
    return Answer(question, row.name, tuple(about), "warn" if caveat else "good")


def _fast(subject: Subject, row: Row | None) -> Answer:
    question = "How fast is it?"
    if row is None or row.headline is None:
        ranges = [
            f"{of.name}: {cells.milliseconds(of.verdict, timing.p50_ms, timing.low_ms, timing.high_ms)} ms"
            for of in subject.rows
            if (timing := of.headline)
        ]
        text = "Only ranges are known" if ranges else "Not known"
        return Answer(question, text, tuple(ranges), "warn")
    timing, up = row.headline, row.speed_up
    spread = f"round medians {timing.low_ms:.2f} to {timing.high_ms:.2f} ms"
    details = [f"p50 of {timing.samples} calls at {timing.boundary}; {spread}"]
    for quantile in (0.9, 0.99):
        if (tail := timing.tail(quantile)) is not None:
            seen = {"samples": timing.samples, "floor": tail.floor, "rounds": timing.rounds}
            shown = cells.no_percentile(row.verdict, **seen)
            if tail.value_ms is not None:
                shown = f"{tail.value_ms:.2f} ms (99 %: at most {tail.upper_ms:.2f})"
            details.append(f"p{100 * quantile:.0f} {shown}")
    for of in timing.misses:
        late = f"{of.missed} of {timing.samples} calls later than {of.deadline_ms:g} ms"
        details.append(f"{late} (95 %: at most {of.high:.1%})")
    if up is not None:
        details.append(f"{cells.ratio(up.median, up.low, up.high)} times as fast as the PyTorch reference")
    return Answer(question, f"{timing.p50_ms:.2f} ms", tuple(details), "good")


def _wrong(subject: Subject, row: Row | None) -> Answer:
    question = "How wrong is it?"
    details = []
    if row is not None and row.accuracy:
        for of in row.accuracy:
            price = f", {of.price_mm.value:+.2f} mm beyond the reference" if of.price_mm else ""
            error = f"{of.mpjpe_mm:.1f} mm" if of.mpjpe_mm is not None else "not told in mm"
            details.append(f"MPJPE {error} on {of.samples:,} samples of {of.dataset}{price}; by {of.run_by}")
    else:
        details.append("how far its poses are from real ones is not known: it was never evaluated")
    if row is not None and row.drift is not None:
        of_row = row.drift
        mean = f"{cells.millimetres(of_row.mean_mm)} mm" if of_row.mean_mm is not None else of_row.status
        text = "Not known: no limit was asked" if of_row.status == EXPLAINED else f"{mean} from the truth"
        largest = f", {cells.millimetres(of_row.max_mm)} mm at most" if of_row.max_mm is not None else ""
        session = f"over {of_row.images} images, in the very session that was timed"
        said = f"parity {of_row.status}: mean {mean}{largest}, {session}; the truth is the network as released, in FP64"
        return Answer(question, text, (said, *details), parity_tone(of_row.status))
    known = [(of, of.mean_mm) for of in subject.parity if of.mean_mm is not None]
    files = [f"{of.edition} {of.status}: mean {cells.millimetres(mean_mm)} mm" for of, mean_mm in known]
    passed = all(of.status == PASSED for of in subject.parity)
    text = ("Every file passes its parity" if passed else "Not every file passes its parity") if files else "Not known"
    return Answer(question, text, (*files, *details), "good" if passed and files else "warn")


def _sure(subject: Subject, row: Row | None) -> Answer:
    question, bench = "How sure is that?", subject.bench
    if bench is None:
        return Answer(question, "Not at all: it was not measured", (), "warn")
    details = []
    if row is not None and row.speed_up is not None:
        half = (row.speed_up.high / row.speed_up.low - 1) / 2
        details.append(f"the speed-up is known to ±{half:.1%} (95 %)")
    if bench.control is not None:
        of = bench.control
        ratio = f"A′ over A {of.median:.3f} [{of.low:.3f}, {of.high:.3f}]"
        details.append(f"two instances of the reference differ by {abs(of.median - 1):.1%} ({ratio})")
    ended = f", ended because {bench.stop_reason}" if bench.stop_reason else ""
    details.append(f"{bench.mode} mode, {bench.rounds} rounds in random order{ended}")
    details.append("an absolute latency is of this run on this machine; only ratios have an interval")
    if not bench.complete:
        details.insert(0, "the run was interrupted: this is what was measured until then")
    if row is None:
        verdicts = dict.fromkeys(of.verdict for of in bench.rows)
        return Answer(question, f"Rows are {', '.join(verdicts)}", (*_reasons(bench.rows)[:MOST], *details), "bad")
    tone: Tone = "good" if row.verdict == "stable" and bench.complete else "warn"
    return Answer(question, row.verdict, (*row.reasons, *details), tone)


def _open(points: Sequence[Missing]) -> Answer:
    question = "What was not tested?"
    if not points:
        return Answer(question, "Everything was", (), "good")
    named = [f"{of.what}: {of.reason}" for of in points[:MOST]]
    rest = [f"and {len(points) - MOST} more, below"] if len(points) > MOST else []
    return Answer(question, f"{len(points)} things", (*named, *rest), "warn")


def _reasons(rows: Sequence[Row]) -> tuple[str, ...]:
    """What is wrong with rows that are not ranked, each once."""
    return tuple(dict.fromkeys(reason for row in rows if not row.ranked for reason in row.reasons))
