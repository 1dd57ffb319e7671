"""A run over many devices, while it goes on and when it is over: views of ``bench.fleet.record``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.fleet.record import FleetRecord, JobRecord, estimated_end, one_machine
from bench.fleet.spec import DeviceFacts, code_version
from bench.result import Result, Row
from cli.console import err, out, table
from cli.render_bench import HEADLINE, VERDICT_STYLE

STATE_STYLE = {"done": "green", "failed": "red", "lost": "red", "running": "cyan", "waiting": "dim"}
DEVICE_STYLE = {"ready": "green", "benched": "red", "refused": "red", "silent": "yellow", "gone": "yellow"}

Show = Callable[[FleetRecord], None]


@contextmanager
def live(record: FleetRecord | None) -> Iterator[Show]:
    """On a terminal a table that keeps up; in a log a line whenever a job comes into another state."""
    if not err.is_terminal:
        yield _Lines().show
        return
    with Live(Text("") if record is None else _status(record), console=err, refresh_per_second=4, transient=True) as of:
        yield lambda now: of.update(_status(now))


class _Lines:
    """What has changed, a line a job or device."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}
        self._devices: dict[str, str] = {}

    def show(self, record: FleetRecord) -> None:
        """Say it."""
        if not record.devices and not self._before:
            err.print("  [dim]waiting[/]     no device is connected yet; each job waits for one as long as --wait says")
        for device in record.devices:
            if self._devices.get(device.worker) != device.state:
                self._devices[device.worker] = device.state
                about = device.reason or ", ".join(device.kinds) or "of no kind that the matrix names"
                line = f"  [{DEVICE_STYLE[device.state]}]{device.state:<11}[/] device {escape(device.worker)}: "
                err.print(line + escape(about), soft_wrap=True)
        for job in record.jobs:
            before, self._before[job.spec.id] = self._before.get(job.spec.id), job.state
            if before is None and job.state == "done":
                err.print(f"  [dim]up to date[/]  {job.spec.name}, measured on {escape(job.worker)}")
            elif job.state != (before or "waiting"):
                line = f"  [{STATE_STYLE[job.state]}]{job.state:<11}[/] {job.spec.name}{escape(_about(job))}"
                err.print(line, soft_wrap=True)


def _about(job: JobRecord) -> str:
    """Where, how long, why: what follows its name."""
    if job.outcome is None:
        return f" on {job.worker}" if job.worker else ""
    of = job.outcome
    where = f"on {of.worker}" if of.worker else ""
    how = "found there, not measured again" if of.found else f"{of.seconds:.0f} s" if of.seconds else ""
    said = ", ".join(filter(None, (where, how)))
    return (f" {said}" if said else "") + (f": {of.reason}" if of.reason else "")


def status(record: FleetRecord, *, going_on: bool) -> None:
    """The run as it stands."""
    out.print(_status(record))
    if not record.complete and not going_on:
        out.print(f"nobody works at it: convnextpose fleet resume does what is missing ({escape(record.run)})")


def _status(record: FleetRecord) -> Group:
    shown = table("device", "stands for", "state", "running", "for", "done", "failed")
    now = datetime.now(UTC)
    for device in record.devices:
        job = next((j for j in record.jobs if j.state == "running" and j.worker == device.worker), None)
        since = "" if job is None else _span((now - datetime.fromisoformat(job.since)).total_seconds())
        style = DEVICE_STYLE[device.state]
        doing = "" if job is None else job.spec.name + (f": {job.progress}" if job.progress else "")
        cells = (escape(device.worker), ", ".join(device.kinds), f"[{style}]{device.state}[/]", escape(doing), since)
        ended = [j.state for j in record.jobs if j.worker == device.worker]
        shown.add_row(*cells, str(ended.count("done")), str(ended.count("failed")))
    counts = {state: sum(job.state == state for job in record.jobs) for state in STATE_STYLE}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    end = estimated_end(record, now)
    left = f"; about {_span((end - now).total_seconds())} left" if end is not None else ""
    lines: list[RenderableType] = [Text(f"{record.run}: {len(record.jobs)} jobs, {said}{left}", style="bold"), shown]
    lines += [Text(f"{d.worker} is {d.state}: {d.reason}", style="red") for d in record.devices if d.reason]
    lines += [Text(f"{j.state} {j.spec.name}: {j.outcome.reason}", style="red") for j in _bad(record) if j.outcome]
    lines += [Text(line, style="dim") for line in _earlier(record)]
    return Group(*lines)


def _earlier(record: FleetRecord) -> list[str]:
    """What else lies in the run's folder."""
    if not record.earlier:
        return []
    kept = ", ".join(f"{job.spec.name} in {job.folder}" for job in record.earlier)
    return [f"earlier results, kept and not counted: {kept}"]


def _bad(record: FleetRecord) -> list[JobRecord]:
    return [job for job in record.jobs if job.state in ("failed", "lost")]


def _span(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def side_by_side(record: FleetRecord, results: Mapping[str, Result], folder: Path) -> None:
    """A line for each model, runtime and precision; for each device its speed-up over its own reference.

    Milliseconds stand under the device that took them, and are never ranked across devices.
    """
    places = list(dict.fromkeys(job.spec.place for job in record.jobs))
    columns = [f"{place}: {what}" for place in places for what in ("speed-up", "p50 ms")]
    shown = table("model", "backend", "precision", *columns)
    for model in dict.fromkeys(job.spec.model for job in record.jobs):
        of = {place: results.get(f"{place}/{model}") for place in places}
        for runtime, precision in dict.fromkeys((r.runtime, r.precision) for x in of.values() if x for r in x.rows):
            cells = [cell for place in places for cell in _cells(of[place], runtime, precision)]
            shown.add_row(model, runtime, precision, *cells)
    if shown.row_count:
        out.print("\n[bold]Devices side by side[/]: speed-up over each device's own reference, batch 1, " + HEADLINE)
        out.print(shown)
        _legend(record, results)
    for device in record.devices:
        if device.reason:
            out.print(f"[red]{device.state}[/] {escape(device.worker)}: {escape(device.reason)}", soft_wrap=True)
    for job in record.jobs:
        for trouble in job.outcome.troubles if job.outcome else ():
            out.print(f"[yellow]tried before[/] {job.spec.name}: {escape(trouble)}", soft_wrap=True)
        for line in job.outcome.engines if job.outcome else ():
            out.print(f"[dim]engine[/] {job.spec.name}: {escape(line)}", soft_wrap=True)
    for line in one_machine(record):
        out.print(f"[yellow]note[/] {escape(line)}", soft_wrap=True)
    for line in _earlier(record):
        out.print(f"[dim]{escape(line)}[/]", soft_wrap=True)
    out.print(f"everything about it: {escape(str(folder))}", soft_wrap=True)


def _cells(result: Result | None, runtime: str, precision: str) -> tuple[str, str]:
    if result is None:
        return "not measured", "–"
    row = next((row for row in result.rows if (row.runtime, row.precision) == (runtime, precision)), None)
    if row is None:
        missing = next((m for m in result.not_run if m.runtime == runtime and m.precision in (None, precision)), None)
        return "not run" if missing else "–", "–"
    return _speed_up(row), _p50(row)


def _speed_up(row: Row) -> str:
    if row.is_reference:
        return "1 (reference)"
    style, of = VERDICT_STYLE[row.verdict], row.speed_up
    if of is None:
        return f"[{style}]{row.verdict}[/]"
    mark = "" if row.verdict == "stable" else f" [{style}]{row.verdict}[/]"
    return f"{'same ' if of.same else ''}{of.median:.2f} \\[{of.low:.2f}, {of.high:.2f}]{mark}"


def _p50(row: Row) -> str:
    latency = row.latency.get(HEADLINE)
    if latency is None:
        return "–"
    if row.verdict == "unstable":
        return f"{latency.round_median_low_ms:.2f} to {latency.round_median_high_ms:.2f}"
    return f"{latency.p50_ms:.2f}"


def _legend(record: FleetRecord, results: Mapping[str, Result]) -> None:
    """Which machine stands behind each column, and what its reference is."""
    for place in dict.fromkeys(job.spec.place for job in record.jobs):
        job = next((job for job in record.jobs if job.spec.place == place and job.folder in results), None)
        if job is None:
            continue
        result = results[job.folder]
        host, gpus = result.environment["host"], result.environment["gpus"]
        parts = [host["cpu"], f"{host['usable_cores']} cores", *(gpu["name"] for gpu in gpus)]
        reference = f"reference {result.reference_id}"
        out.print(f"{place}: {escape(', '.join(parts))}; worker {escape(job.worker)}; {reference}", soft_wrap=True)


def devices(found: Sequence[DeviceFacts]) -> None:
    """One table of what they are, and for each what its doctor says."""
    shown = table("worker", "resources", "processor", "cores", "GPU", "Python", "this project")
    for facts in found:
        resources = ", ".join(f"{name}={count:g}" for name, count in facts.resources.items()) or "–"
        same = _same(facts)
        about = _hardware(facts) if same else ("–",) * 4
        said = "[green]the same[/]" if same else "[red]another version[/]"
        shown.add_row(*map(escape, (facts.worker, resources, *about)), said)
    out.print(shown)
    for facts in filter(_same, found):
        out.print(_capabilities(facts))


def _same(facts: DeviceFacts) -> bool:
    """What a device of another version tells of itself may have any form."""
    return facts.code == code_version()


def _hardware(facts: DeviceFacts) -> tuple[str, str, str, str]:
    host, software = facts.environment["host"], facts.environment["software"]
    gpu = ", ".join(gpu["name"] for gpu in facts.environment["gpus"]) or "–"
    return host["cpu"], str(host["usable_cores"]), gpu, software["python"]


def _capabilities(facts: DeviceFacts) -> Table:
    shown = table(facts.worker, "can it?", "why")
    for one in facts.doctor["capabilities"]:
        style = {"yes": "green", "no": "red"}.get(one["available"], "yellow")
        shown.add_row(one["name"], f"[{style}]{one['available']}[/]", escape(one["why"]))
    return shown
