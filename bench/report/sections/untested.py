"""What was not tested, why, and the command that does it. It is never counted as passed."""

from collections import Counter
from collections.abc import Iterable

from bench import cells
from bench.report import commands
from bench.report.subject import Row, Subject
from bench.report.views import Cell, Line, Missing, Section, Table

MOST = 2
"""Reasons that are said here; more of them stand in the decision table."""


def gaps(subject: Subject, chosen: Row | None) -> list[Missing]:
    """Everything, what matters most first; what has one reason is said once."""
    return [
        *_weights(subject),
        *_accuracy(subject),
        *_bench(subject, chosen),
        *_engines(subject),
        *_grouped(subject.bench.not_run if subject.bench else ()),
        *_grouped(subject.not_made),
        *_passes(subject),
        *_devices(subject),
        *_grouped(pair for of in subject.parity for pair in of.not_run),
    ]


def untested(subject: Subject, chosen: Row | None) -> Section:
    """As a table."""
    lines = tuple(
        Line((Cell(of.what), Cell(of.reason), Cell(of.command or "–", tone="" if of.command else "dim")))
        for of in gaps(subject, chosen)
    )
    table = Table("Nothing of this is counted as passed.", ("what", "why", "what does it"), lines, wide=True)
    return Section("untested", "What was not tested, and why", tables=(table,))


def _weights(subject: Subject) -> list[Missing]:
    about = {
        "stand-in": ("poses", "stand-in weights: only latency is meaningful"),
        "demo": ("poses of people", "demo weights, trained on drawn figures"),
    }
    if subject.weights not in about:
        return []
    what, why = about[subject.weights]
    return [Missing(what, why, f"convnextpose export {subject.model} --checkpoint FILE")]


def _accuracy(subject: Subject) -> list[Missing]:
    if subject.evaluations:
        return []
    return [Missing("accuracy on annotated images", "never evaluated", commands.evaluate(subject))]


def _bench(subject: Subject, chosen: Row | None) -> list[Missing]:
    """What the benchmark left open."""
    bench = subject.bench
    if bench is None:
        return [Missing("latency", "nothing was benchmarked", commands.bench(subject))]
    found = []
    if not bench.complete:
        found.append(Missing("the rest of the benchmark", "it was interrupted", commands.bench(subject)))
    bad = [row for row in bench.rows if not row.ranked]
    for verdict in ("unstable", "invalid"):
        names = [row.name for row in bad if row.verdict == verdict]
        if names:
            reasons = list(dict.fromkeys(reason for row in bad if row.verdict == verdict for reason in row.reasons))
            why = "; ".join(reasons) if len(reasons) <= MOST else "the decision table says why of each"
            found.append(Missing(f"a speed-up of {', '.join(names)}", f"{verdict}: {why}"))
    if chosen and (timing := chosen.headline) and (tail := timing.tail(0.99)) and tail.value_ms is None:
        seen = {"samples": timing.samples, "floor": tail.floor, "rounds": timing.rounds}
        why = cells.no_percentile(chosen.verdict, **seen)
        found.append(Missing(f"p99 of {chosen.name}", why, commands.bench(subject, "--publish")))
    if bench.samples_missing:
        found.append(Missing("single calls", bench.samples_missing, commands.bench(subject)))
    return found


def _engines(subject: Subject) -> list[Missing]:
    """Those that no row has run."""
    run = {row.file for row in subject.rows if row.timings}
    counts = Counter(of.status for of in subject.files if of.kind == "engine" and of.path not in run)
    return [Missing(f"{count} engines" if count > 1 else "the engine", status) for status, count in counts.items()]


def _passes(subject: Subject) -> list[Missing]:
    """Passes that are asked for by name."""
    rows = [row for row in subject.rows if row.verdict != "invalid"]
    if not rows:
        return []
    last = rows[-1]
    passes = [
        ("throughput", any(row.throughput for row in rows), last.throughput_reason, "--throughput"),
        ("where the time goes", any(row.profile for row in rows), last.profile_reason, "--profile"),
        ("energy", any(row.energy_j is not None for row in rows), last.energy_reason, "--energy"),
    ]
    return [
        Missing(what, reason or "not measured", commands.bench(subject, option))
        for what, there, reason, option in passes
        if not there
    ]


def _devices(subject: Subject) -> list[Missing]:
    """What devices that reported did not run."""
    return _grouped((f"{what} on {one.device.name}", why) for one in subject.on_devices for what, why in one.not_run)


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[Missing]:
    by_reason: dict[str, list[str]] = {}
    for what, why in pairs:
        by_reason.setdefault(why, []).append(what)
    return [Missing(", ".join(whats), why) for why, whats in by_reason.items()]
