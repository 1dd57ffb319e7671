"""A fleet's run on a terminal, during the run and after it."""

from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape

from bench.fleet.record import FleetRecord, JobRecord, one_machine
from bench.report.fleet_run import read_measurements, run_command
from bench.report.recommend import recommend
from cli.console import err, out, table
from cli.render.decision import CHOICE_COLUMNS, choice_cells, choice_reasons
from cli.render.screen import Screen, command, shorten
from export.common.plain import group_names, listed

STATE_STYLE = {"done": "green", "failed": "red", "lost": "red", "running": "cyan", "waiting": "dim"}
DEVICE_STYLE = {"ready": "green", "refused": "red", "silent": "yellow", "gone": "yellow"}


class Log:
    """A line for each change of a job or device."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        """Name of a device, or id of a job → its last state."""

    def show(self, record: FleetRecord) -> None:
        """Print what has changed since the last record."""
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
        err.print(f"  [{style}]{state:<11}[/] {escape(text)}")


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
    totals = {state: sum(job.state == state for job in record.jobs) for state in STATE_STYLE}
    summary = ", ".join(f"{total} {state}" for state, total in totals.items() if total)
    out.print(f"[bold]{escape(record.run)}: {len(record.jobs)} jobs, {summary}[/]")
    view = table("device", "kind", "state", "running", "for", "done", "failed")
    for device in record.devices:
        jobs = [job for job in record.jobs if job.worker == device.worker]
        job = next((job for job in jobs if job.state == "running"), None)
        duration = "" if job is None else _span((datetime.now(UTC) - datetime.fromisoformat(job.since)).total_seconds())
        running = "" if job is None else job.spec.name + (f": {job.progress}" if job.progress else "")
        state = f"[{DEVICE_STYLE[device.state]}]{device.state}[/]"
        counts = (str(sum(job.state == end for job in jobs)) for end in ("done", "failed"))
        view.add_row(escape(device.worker), ", ".join(device.kinds), state, escape(running), duration, *counts)
    out.print(view)
    for device in record.devices:
        if device.reason:
            out.print(f"[red]{escape(device.worker)} is {device.state}[/]: {escape(device.reason)}")
    for job in record.jobs:
        if job.outcome and job.state in ("failed", "lost"):
            out.print(f"[red]{job.state}[/] {job.spec.name}: {escape(job.outcome.reason)}")
    if not record.complete and not going_on:
        out.print("no client works on it: `convnextpose fleet run` with the same matrix does the missing jobs")


def _span(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def print_result(record: FleetRecord, folder: Path, matrix: Path) -> None:
    """Print what to ship on each device, what failed, and what to do next."""
    choices = [recommend(measurement) for measurement in read_measurements(folder, record)]
    done = sum(job.state == "done" for job in record.jobs)
    missing = [job for job in record.jobs if job.state in ("failed", "lost")]
    unstable = any(row.verdict == "unstable" for choice in choices for row in choice.measurement.rows)
    style = "green" if done == len(record.jobs) else "red"
    run_again = [run_command(record, matrix)] if done < len(record.jobs) else []
    Screen(
        head=[f"[bold]fleet {escape(record.run)}[/]: [{style}]{done} of {len(record.jobs)} jobs done[/]"],
        columns=CHOICE_COLUMNS,
        rows=[choice_cells(choice) for choice in choices],
        tail=[
            *(
                f"[red]{escape(listed(names))}[/] {escape(shorten(reason))}"
                for reason, names in group_names(
                    (job.spec.name, f"{job.state}: {job.outcome.reason if job.outcome else ''}") for job in missing
                ).items()
            ),
            *choice_reasons([choice for choice in choices if choice.measurement.missing is None]),
            *(["unstable: quieten the device or raise `budget_s`, then `fleet run MATRIX --again`"] * unstable),
            *(escape(note) for note in one_machine(record)),
        ],
        details=f"{folder}, or --verbose",
        commands=[*run_again, command("report", folder)],
    ).show()


def notes(record: FleetRecord) -> None:
    """Print the engines, and the attempts that failed."""
    for job in record.jobs:
        troubles, engines = (job.outcome.troubles, job.outcome.engines) if job.outcome else ((), ())
        for label, line in (*(("tried before", t) for t in troubles), *(("engine", e) for e in engines)):
            out.print(f"[yellow]{label}[/] {job.spec.name}: {escape(line)}")
