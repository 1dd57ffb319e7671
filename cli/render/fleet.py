"""A fleet's run on a terminal, during the run and after it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.fleet.record import FleetRecord, JobRecord, estimated_end, one_machine
from bench.fleet.spec import DeviceFacts, code_version
from bench.report.fleet_run import read_measurements
from bench.report.recommend import recommend
from bench.report.rows import with_trusted_speed_ups
from bench.results import cells
from bench.results.result import Result, Row
from cli.console import err, out, table
from cli.render.bench import HEADLINE
from cli.render.decision import CHOICE_COLUMNS, VERDICT_STYLE, choice_cells, choice_reasons
from cli.render.screen import Screen, by_reason, command, listed, shorten
from export.runtime.processor import limit_note

STATE_STYLE = {"done": "green", "failed": "red", "lost": "red", "running": "cyan", "waiting": "dim"}
DEVICE_STYLE = {"ready": "green", "benched": "red", "refused": "red", "silent": "yellow", "gone": "yellow"}


@contextmanager
def live(record: FleetRecord | None) -> Iterator[Callable[[FleetRecord], None]]:
    """Show a table that is kept up to date on a terminal; in a log, a line for each change of a job or device."""
    if not err.is_terminal:
        yield _Log().show
        return
    first = Text("") if record is None else _status(record)
    with Live(first, console=err, refresh_per_second=4, transient=True) as display:
        yield lambda latest: display.update(_status(latest))


class _Log:
    """Lines for changes between records."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        """Name of a device, or id of a job → its last state."""

    def show(self, record: FleetRecord) -> None:
        for device in record.devices:
            if self._states.get(device.worker) != device.state:
                self._states[device.worker] = device.state
                about = device.reason or ", ".join(device.kinds) or "not of a kind in the matrix"
                self._line(DEVICE_STYLE[device.state], device.state, f"device {device.worker}: {about}")
        for job in record.jobs:
            before, self._states[job.spec.id] = self._states.get(job.spec.id), job.state
            if before is None and job.state == "done":
                self._line("dim", "up to date", f"{job.spec.name}, measured on {job.worker}")
            elif job.state != (before or "waiting"):
                self._line(STATE_STYLE[job.state], job.state, job.spec.name + _about(job))

    @staticmethod
    def _line(style: str, state: str, text: str) -> None:
        err.print(f"  [{style}]{state:<11}[/] {escape(text)}", soft_wrap=True)


def _about(job: JobRecord) -> str:
    """Return the text behind a job's name: worker, duration, reason."""
    outcome = job.outcome
    if outcome is None:
        return f" on {job.worker}" if job.worker else ""
    time = "result found, not measured again" if outcome.found else f"{outcome.seconds:.0f} s"
    where = f" on {outcome.worker}, {time}" if outcome.worker else ""
    return where + (f": {outcome.reason}" if outcome.reason else "")


def status(record: FleetRecord, *, going_on: bool) -> None:
    """Print the run's present state."""
    out.print(_status(record))
    if not record.complete and not going_on:
        out.print(f"no client works on it: {command('fleet', 'resume')} does the missing jobs ({escape(record.run)})")


def _status(record: FleetRecord) -> Group:
    view = table("device", "kind", "state", "running", "for", "done", "failed")
    now = datetime.now(UTC)
    for device in record.devices:
        jobs = [job for job in record.jobs if job.worker == device.worker]
        job = next((job for job in jobs if job.state == "running"), None)
        duration = "" if job is None else _span((now - datetime.fromisoformat(job.since)).total_seconds())
        running = "" if job is None else job.spec.name + (f": {job.progress}" if job.progress else "")
        state = f"[{DEVICE_STYLE[device.state]}]{device.state}[/]"
        counts = (str(sum(job.state == end for job in jobs)) for end in ("done", "failed"))
        view.add_row(escape(device.worker), ", ".join(device.kinds), state, escape(running), duration, *counts)
    totals = {state: sum(job.state == state for job in record.jobs) for state in STATE_STYLE}
    summary = ", ".join(f"{total} {state}" for state, total in totals.items() if total)
    end = estimated_end(record, now)
    left = f"; about {_span((end - now).total_seconds())} left" if end is not None else ""
    lines: list[RenderableType] = [Text(f"{record.run}: {len(record.jobs)} jobs, {summary}{left}", style="bold"), view]
    lines += [Text(f"{d.worker} is {d.state}: {d.reason}", style="red") for d in record.devices if d.reason]
    lines += [
        Text(f"{job.state} {job.spec.name}: {job.outcome.reason}", style="red")
        for job in record.jobs
        if job.outcome and job.state in ("failed", "lost")
    ]
    return Group(*lines, *(Text(line, style="dim") for line in _earlier(record)))


def _earlier(record: FleetRecord) -> list[str]:
    earlier = ", ".join(f"{job.spec.name} in {job.folder}" for job in record.earlier)
    return [f"earlier results, kept and not counted: {earlier}"] if earlier else []


def _span(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def print_result(record: FleetRecord, folder: Path) -> None:
    """Print what to ship on each device, what failed, and what to do next."""
    choices = [recommend(measurement) for measurement in read_measurements(folder, record)]
    done = sum(job.state == "done" for job in record.jobs)
    missing = [job for job in record.jobs if job.state in ("failed", "lost")]
    unstable = any(row.verdict == "unstable" for choice in choices for row in choice.measurement.rows)
    style = "green" if done == len(record.jobs) else "red"
    resume = [command("fleet", "resume", folder)] if done < len(record.jobs) else []
    Screen(
        head=[f"[bold]fleet {escape(record.run)}[/]: [{style}]{done} of {len(record.jobs)} jobs done[/]"],
        columns=CHOICE_COLUMNS,
        rows=[choice_cells(choice) for choice in choices],
        tail=[
            *(
                f"[red]{escape(listed(names))}[/] {escape(shorten(reason))}"
                for reason, names in by_reason(
                    (job.spec.name, f"{job.state}: {job.outcome.reason if job.outcome else ''}") for job in missing
                ).items()
            ),
            *choice_reasons([choice for choice in choices if choice.measurement.missing is None]),
            *(["unstable: quieten the device or raise `budget_s`, then `fleet run MATRIX --again`"] * unstable),
            *(escape(note) for note in one_machine(record)),
        ],
        details=f"{folder}, or --verbose",
        commands=[*resume, command("report", folder)],
    ).show()


def side_by_side(record: FleetRecord, results: Mapping[str, Result], folder: Path) -> None:
    """Print a line for each model, runtime and precision, with each device's speed-up over its own reference.

    Milliseconds are never ranked across devices.
    """
    places = list(dict.fromkeys(job.spec.place for job in record.jobs))
    view = table(
        "model", "runtime", "precision", *(f"{place}: {name}" for place in places for name in ("speed-up", "p50 (ms)"))
    )
    for model in dict.fromkeys(job.spec.model for job in record.jobs):
        devices = [results.get(f"{place}/{model}") for place in places]
        rows = [row for result in devices if result for row in result.rows]
        for runtime, precision in dict.fromkeys((row.runtime, row.precision) for row in rows):
            pairs = [cell for result in devices for cell in _cells(result, runtime, precision)]
            view.add_row(model, runtime, precision, *pairs)
    if view.row_count:
        out.print("\n[bold]Devices side by side[/]: speed-up over each device's own reference, batch 1, " + HEADLINE)
        out.print(view)
        _legend(record, results)
    _notes(record)
    out.print(f"results: {escape(str(folder))}", soft_wrap=True)


def _cells(result: Result | None, runtime: str, precision: str) -> tuple[str, str]:
    """Return speed-up and median of a row on one device."""
    if result is None:
        return "not measured", cells.NOTHING
    trusted = with_trusted_speed_ups(result.rows)
    row = next((row for row in trusted if (row.runtime, row.precision) == (runtime, precision)), None)
    if row is None:
        skipped = any(s.runtime == runtime and s.precision in (None, precision) for s in result.not_run)
        return "not run" if skipped else cells.NOTHING, cells.NOTHING
    latency = row.latency.get(HEADLINE)
    if latency is None:
        return _speed_up(row), cells.NOTHING
    low_ms, high_ms = latency.round_median_low_ms, latency.round_median_high_ms
    return _speed_up(row), cells.milliseconds(row.verdict, latency.p50_ms, low_ms, high_ms)


def _speed_up(row: Row) -> str:
    if row.is_reference:
        return "1 (reference)"
    ratio, verdict = row.speed_up, f"[{VERDICT_STYLE[row.verdict]}]{row.verdict}[/]"
    if ratio is None:
        return verdict
    text = ("same " if ratio.same else "") + escape(cells.ratio(ratio.median, ratio.low, ratio.high))
    return text if row.verdict == "stable" else f"{text} {verdict}"


def _legend(record: FleetRecord, results: Mapping[str, Result]) -> None:
    """Print the machine and the reference of each device."""
    for place in dict.fromkeys(job.spec.place for job in record.jobs):
        job = next((job for job in record.jobs if job.spec.place == place and job.folder in results), None)
        if job is not None:
            result = results[job.folder]
            machine = ", ".join(_hardware(result.environment["host"], result.environment["gpus"]))
            reference = f"worker {escape(job.worker)}; reference {result.reference_id}"
            out.print(f"{place}: {escape(machine)}; {reference}", soft_wrap=True)


def _hardware(host: Mapping[str, Any], gpus: Sequence[Mapping[str, object]]) -> list[str]:
    return [
        str(host["cpu"]),
        f"{host['usable_cores']} cores{limit_note(host.get('cpu_limit'))}",
        *(str(gpu["name"]) for gpu in gpus),
    ]


def _notes(record: FleetRecord) -> None:
    for device in record.devices:
        if device.reason:
            out.print(f"[red]{device.state}[/] {escape(device.worker)}: {escape(device.reason)}", soft_wrap=True)
    for job in record.jobs:
        troubles, engines = (job.outcome.troubles, job.outcome.engines) if job.outcome else ((), ())
        for label, line in (*(("tried before", t) for t in troubles), *(("engine", e) for e in engines)):
            out.print(f"[yellow]{label}[/] {job.spec.name}: {escape(line)}", soft_wrap=True)
    for line in (*one_machine(record), *_earlier(record)):
        out.print(f"[yellow]note[/] {escape(line)}", soft_wrap=True)


def devices(descriptions: Sequence[DeviceFacts]) -> None:
    """Print a table of the devices, and the doctor's report of each that has this version of the project."""
    view = table("worker", "resources", "hardware", "Python", "this project")
    reports: list[Table] = []
    for facts in descriptions:
        resources = ", ".join(f"{name}={count:g}" for name, count in facts.resources.items()) or cells.NOTHING
        if facts.code != code_version():  # another version's description may have any form
            view.add_row(escape(facts.worker), escape(resources), "–", "–", "[red]another version[/]")
            continue
        hardware = ", ".join(_hardware(facts.environment["host"], facts.environment["gpus"]))
        python = facts.environment["software"]["python"]
        view.add_row(*map(escape, (facts.worker, resources, hardware, python)), "[green]the same[/]")
        report = table(facts.worker, "available", "reason")
        for capability in facts.doctor["capabilities"]:
            style = {"yes": "green", "no": "red"}.get(capability["available"], "yellow")
            report.add_row(capability["name"], f"[{style}]{capability['available']}[/]", escape(capability["why"]))
        reports.append(report)
    out.print(view, *reports, sep="\n")
