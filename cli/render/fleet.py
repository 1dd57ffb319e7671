"""A fleet's run on a terminal, while it goes on and when it is over."""

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
from bench.results.result import Result, Row
from cli.console import err, out, table
from cli.render.bench import HEADLINE, VERDICT_STYLE

STATE_STYLE = {"done": "green", "failed": "red", "lost": "red", "running": "cyan", "waiting": "dim"}
DEVICE_STYLE = {"ready": "green", "benched": "red", "refused": "red", "silent": "yellow", "gone": "yellow"}

Show = Callable[[FleetRecord], None]


@contextmanager
def live(record: FleetRecord | None) -> Iterator[Show]:
    """Show a table that is kept up to date on a terminal; in a log a line for each change of a job or device."""
    if not err.is_terminal:
        yield _Log().show
        return
    first = Text("") if record is None else _status(record)
    with Live(first, console=err, refresh_per_second=4, transient=True) as display:
        yield lambda now: display.update(_status(now))


class _Log:
    """Lines for what has changed."""

    def __init__(self) -> None:
        self._devices: dict[str, str] = {}
        self._jobs: dict[str, str] = {}

    def show(self, record: FleetRecord) -> None:
        for device in record.devices:
            if self._devices.get(device.worker) != device.state:
                self._devices[device.worker] = device.state
                about = device.reason or ", ".join(device.kinds) or "of no kind that the matrix names"
                self._line(DEVICE_STYLE, device.state, f"device {device.worker}: {about}")
        for job in record.jobs:
            before, self._jobs[job.spec.id] = self._jobs.get(job.spec.id), job.state
            if before is None and job.state == "done":
                self._line({}, "up to date", f"{job.spec.name}, measured on {job.worker}")
            elif job.state != (before or "waiting"):
                self._line(STATE_STYLE, job.state, job.spec.name + _about(job))

    @staticmethod
    def _line(styles: Mapping[str, str], state: str, text: str) -> None:
        err.print(f"  [{styles.get(state, 'dim')}]{state:<11}[/] {escape(text)}", soft_wrap=True)


def _about(job: JobRecord) -> str:
    """Return what follows a job's name: where, how long, why."""
    outcome = job.outcome
    if outcome is None:
        return f" on {job.worker}" if job.worker else ""
    how = "found there, not measured again" if outcome.found else f"{outcome.seconds:.0f} s" if outcome.seconds else ""
    about = ", ".join(filter(None, (f"on {outcome.worker}" if outcome.worker else "", how)))
    return (f" {about}" if about else "") + (f": {outcome.reason}" if outcome.reason else "")


def status(record: FleetRecord, *, going_on: bool) -> None:
    """Print the run as it stands."""
    out.print(_status(record))
    if not record.complete and not going_on:
        out.print(f"no client works at it: convnextpose fleet resume does what is missing ({escape(record.run)})")


def _status(record: FleetRecord) -> Group:
    shown = table("device", "kind", "state", "running", "for", "done", "failed")
    now = datetime.now(UTC)
    for device in record.devices:
        jobs = [job for job in record.jobs if job.worker == device.worker]
        job = next((job for job in jobs if job.state == "running"), None)
        since = "" if job is None else _span((now - datetime.fromisoformat(job.since)).total_seconds())
        running = "" if job is None else job.spec.name + (f": {job.progress}" if job.progress else "")
        state = f"[{DEVICE_STYLE[device.state]}]{device.state}[/]"
        cells = (escape(device.worker), ", ".join(device.kinds), state, escape(running), since)
        shown.add_row(*cells, *(str(sum(job.state == end for job in jobs)) for end in ("done", "failed")))
    counts = {state: sum(job.state == state for job in record.jobs) for state in STATE_STYLE}
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    end = estimated_end(record, now)
    left = f"; about {_span((end - now).total_seconds())} left" if end is not None else ""
    lines: list[RenderableType] = [Text(f"{record.run}: {len(record.jobs)} jobs, {summary}{left}", style="bold"), shown]
    lines += [Text(f"{d.worker} is {d.state}: {d.reason}", style="red") for d in record.devices if d.reason]
    lines += [
        Text(f"{job.state} {job.spec.name}: {job.outcome.reason}", style="red")
        for job in record.jobs
        if job.outcome and job.state in ("failed", "lost")
    ]
    lines += [Text(line, style="dim") for line in _earlier(record)]
    return Group(*lines)


def _earlier(record: FleetRecord) -> list[str]:
    kept = ", ".join(f"{job.spec.name} in {job.folder}" for job in record.earlier)
    return [f"earlier results, kept and not counted: {kept}"] if kept else []


def _span(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def side_by_side(record: FleetRecord, results: Mapping[str, Result], folder: Path) -> None:
    """Print a line for each model, runtime and precision, and for each device its speed-up over its own reference.

    Milliseconds are under the device that took them, and are never ranked across devices.
    """
    places = list(dict.fromkeys(job.spec.place for job in record.jobs))
    columns = [f"{place}: {what}" for place in places for what in ("speed-up", "p50 ms")]
    shown = table("model", "backend", "precision", *columns)
    for model in dict.fromkeys(job.spec.model for job in record.jobs):
        measured = [results.get(f"{place}/{model}") for place in places]
        rows = [row for result in measured if result for row in result.rows]
        for runtime, precision in dict.fromkeys((row.runtime, row.precision) for row in rows):
            cells = [cell for result in measured for cell in _cells(result, runtime, precision)]
            shown.add_row(model, runtime, precision, *cells)
    if shown.row_count:
        out.print("\n[bold]Devices side by side[/]: speed-up over each device's own reference, batch 1, " + HEADLINE)
        out.print(shown)
        _legend(record, results)
    for line in _notes(record):
        out.print(line, soft_wrap=True)
    out.print(f"everything about it: {escape(str(folder))}", soft_wrap=True)


def _notes(record: FleetRecord) -> Iterator[str]:
    for device in record.devices:
        if device.reason:
            yield f"[red]{device.state}[/] {escape(device.worker)}: {escape(device.reason)}"
    for job in record.jobs:
        for trouble in job.outcome.troubles if job.outcome else ():
            yield f"[yellow]tried before[/] {job.spec.name}: {escape(trouble)}"
        for line in job.outcome.engines if job.outcome else ():
            yield f"[dim]engine[/] {job.spec.name}: {escape(line)}"
    yield from (f"[yellow]note[/] {escape(line)}" for line in one_machine(record))
    yield from (f"[dim]{escape(line)}[/]" for line in _earlier(record))


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
    style, ratio = VERDICT_STYLE[row.verdict], row.speed_up
    if ratio is None:
        return f"[{style}]{row.verdict}[/]"
    mark = "" if row.verdict == "stable" else f" [{style}]{row.verdict}[/]"
    return f"{'same ' if ratio.same else ''}{ratio.median:.2f} \\[{ratio.low:.2f}, {ratio.high:.2f}]{mark}"


def _p50(row: Row) -> str:
    latency = row.latency.get(HEADLINE)
    if latency is None:
        return "–"
    if row.verdict == "unstable":
        return f"{latency.round_median_low_ms:.2f} to {latency.round_median_high_ms:.2f}"
    return f"{latency.p50_ms:.2f}"


def _legend(record: FleetRecord, results: Mapping[str, Result]) -> None:
    """Print the machine behind each column, and its reference."""
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
    """Print a table of the devices, and the doctor's report of each that has this version of the project."""
    shown = table("worker", "resources", "processor", "cores", "GPU", "Python", "this project")
    for facts in found:
        resources = ", ".join(f"{name}={count:g}" for name, count in facts.resources.items()) or "–"
        same = facts.code == code_version()
        about = _hardware(facts) if same else ("–",) * 4  # another version's record may have any form
        version = "[green]the same[/]" if same else "[red]another version[/]"
        shown.add_row(*map(escape, (facts.worker, resources, *about)), version)
    out.print(shown)
    for facts in found:
        if facts.code == code_version():
            out.print(_capabilities(facts))


def _hardware(facts: DeviceFacts) -> tuple[str, str, str, str]:
    host, software = facts.environment["host"], facts.environment["software"]
    gpu = ", ".join(gpu["name"] for gpu in facts.environment["gpus"]) or "–"
    return host["cpu"], str(host["usable_cores"]), gpu, software["python"]


def _capabilities(facts: DeviceFacts) -> Table:
    shown = table(facts.worker, "available", "reason")
    for capability in facts.doctor["capabilities"]:
        style = {"yes": "green", "no": "red"}.get(capability["available"], "yellow")
        shown.add_row(capability["name"], f"[{style}]{capability['available']}[/]", escape(capability["why"]))
    return shown
