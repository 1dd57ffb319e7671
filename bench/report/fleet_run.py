"""Measurements from a fleet's run: each job's folder is read as a model's folder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.accuracy.record import Evaluation
from bench.fleet.plan import EXPORTS
from bench.fleet.record import FleetRecord, JobRecord, one_machine, read_finished
from bench.harness.candidates import HOW_TO_MEASURE
from bench.report.commands import portable_command
from bench.report.gaps import IN_THE_MATRIX
from bench.report.measurement import Measurement, measurement_of
from bench.report.model_files import read_evaluations, read_model_files
from bench.report.views import Missing
from export.common.errors import BadInput


def read_measurements(folder: Path, record: FleetRecord) -> list[Measurement]:
    """Return a measurement for each job of the run, also for those without a result.

    Raises:
        BadInput: a file of a result is damaged, was changed, or has another schema version.
    """
    return [_measurement(folder, record, job) for job in record.jobs]


def notices_of(record: FleetRecord) -> list[str]:
    """Return the notices about the whole run."""
    ended = sum(job.outcome is not None for job in record.jobs)
    notices = [] if record.complete else [f"the run is not complete: {ended} of {len(record.jobs)} jobs have ended"]
    if record.scheduler is None and len({job.spec.place for job in record.jobs}) > 1:
        notices.append("one machine measured for all devices: their figures differ by chance alone")
    return [*notices, *one_machine(record)]


def devices_without_work(record: FleetRecord) -> list[tuple[str, Missing]]:
    """Return the devices that got no work, or no more of it."""
    return [
        (device.worker, Missing(f"device {device.state}", device.reason))
        for device in record.devices
        if device.state != "ready"
    ]


def commands_of(folder: Path, record: FleetRecord) -> tuple[str, ...]:
    """Return the commands that make the run and its page again."""
    return (f"{run_command(record)} --again", portable_command("report", folder))


def run_command(record: FleetRecord, matrix: Path | str = "MATRIX.yaml") -> str:
    """Return the command that does the run's missing jobs."""
    scheduler = ["--scheduler", record.scheduler] if record.scheduler else []
    return portable_command("fleet", "run", matrix, *scheduler)


def _measurement(folder: Path, record: FleetRecord, job: JobRecord) -> Measurement:
    place, run_again = folder / job.folder, run_command(record)
    if job.state != "done":
        facts = {"worker": job.worker} if job.worker else {}
        return Measurement(
            model=job.spec.model,
            weights="checkpoint",
            source=str(place),
            command=run_again,
            device=job.spec.place,
            facts=facts,
            missing=_missing_reason(job),
        )
    if read_finished(place, job.spec.id) is None:
        detail, advice = "a file of its result was changed, or is gone", f"measure it again: {run_again}"
        raise BadInput(f"{place} is not the result of {job.worker}", detail, advice)
    files = read_model_files(place)
    if files.result is None:
        advice = f"measure it again: {run_again}"
        raise BadInput(f"{place} holds no benchmark", "the job is recorded as done", advice)
    measurement = measurement_of(files, run_again)
    evaluated = (*measurement.evaluations, *_evaluations(folder, record, files.manifest.weights.sha256))
    not_run = [
        row.model_copy(update={"reason": row.reason.replace(HOW_TO_MEASURE, IN_THE_MATRIX)})
        for row in measurement.not_run
    ]
    return replace(
        measurement,
        model=job.spec.model,
        device=job.spec.place,
        evaluations=evaluated,
        not_run=tuple(not_run),
        facts={"worker": job.worker, **measurement.facts},
    )


def _evaluations(folder: Path, record: FleetRecord, weights_sha256: str) -> Iterator[Evaluation]:
    """Read evaluations of these weights where the run's models were exported: a file is known by its hash."""
    models = [Path(str(entry.get("model", ""))) for entry in record.matrix.get("models", ())]
    exports = [*(place for place in models if place.is_absolute()), *sorted((folder.parent / EXPORTS).glob("*"))]
    for export in exports:
        yield from (e for e in read_evaluations(export).values() if e.weights.sha256 == weights_sha256)


def _missing_reason(job: JobRecord) -> str:
    if job.outcome is not None:
        return f"{job.state}: {job.outcome.reason or 'no reason was given'}"
    return "its measurement has not ended" if job.state == "running" else "it was not started"
