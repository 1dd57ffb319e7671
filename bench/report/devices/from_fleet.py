"""A fleet's run in the words of ``told``: each job's folder is read as a model's folder is."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.candidates import ASKED_FOR
from bench.fleet.exports import EXPORTS
from bench.fleet.record import FleetRecord, JobRecord, going_on, one_machine, read_finished, read_fleet
from bench.report.clean import clean
from bench.report.devices.settings import NOT_RECORDED, POWER_MODE
from bench.report.devices.told import Device, Devices, Told
from bench.report.from_export import subject_of
from bench.report.records import AccuracyFile, read_record
from bench.report.sections.identity import device_card
from bench.report.sources import ACCURACY, read_sources
from bench.report.subject import Bench
from export.errors import BadInput

IN_THE_MATRIX = "`mode: publish` or `runtimes` in the matrix measures it"


def read_run(folder: Path) -> Devices:
    """The run in ``folder``, as it stands.

    Raises:
        BadInput: there is none, or a file of it is damaged, was changed, or is of another schema version.
    """
    record = read_fleet(folder)
    told = tuple(_told(folder, record, job) for job in record.jobs)
    places = list(dict.fromkeys(job.spec.place for job in record.jobs))
    ended = sum(job.outcome is not None for job in record.jobs)
    where = "on the machine that asked" if record.scheduler is None else "through Dask"
    notices = [] if record.complete else [f"the run is not complete: {ended} of {len(record.jobs)} jobs have an end"]
    if record.scheduler is None and len(places) > 1:
        notices.append("one machine stood in for all devices: their figures differ by chance alone")
    notices += one_machine(record)
    notices += [
        f"{job.spec.name} was tried before: {said}"
        for job in record.jobs
        if job.outcome
        for said in job.outcome.troubles
    ]
    if record.earlier:
        kept = ", ".join(f"{job.spec.name} in {job.folder}" for job in record.earlier)
        notices.append(f"earlier results, kept and not shown: {kept}")
    resume = ["convnextpose", "fleet", "resume", str(folder)]
    found: Devices = clean(
        Devices(
            title=f"{record.run}: {_counted(places)}",
            subtitle=f"{folder}, a fleet's run {where}, begun {record.created}, last change {record.updated}",
            told=told,
            reference="the PyTorch reference on the same device, in the same rounds",
            idle=tuple((of.worker, of.state, of.reason) for of in record.devices if of.state != "ready"),
            notices=tuple(notices),
            commands=(
                "convnextpose fleet run MATRIX.yaml --again",
                shlex.join([*resume, *(["--scheduler", record.scheduler] if record.scheduler else [])]),
                shlex.join(["convnextpose", "report", str(folder)]),
            ),
        )
    )
    return found


def _counted(places: Sequence[str]) -> str:
    return (
        f"{len(places)} devices side by side" if len(places) > 1 else f"one device, {places[0]}" if places else "empty"
    )


def _told(folder: Path, record: FleetRecord, job: JobRecord) -> Told:
    resume, place = shlex.join(["convnextpose", "fleet", "resume", str(folder)]), folder / job.folder
    if job.state != "done":
        device = Device(job.spec.place, job.worker, _seen(record, job.worker))
        return Told(device, job.spec.model, str(place), missing=_why(folder, job), command=resume)
    if read_finished(place, job.spec.id) is None:
        seen, do = "a file of its result was changed, or is gone", f"measure it again: {resume}"
        raise BadInput(f"{place} is not what was brought back from {job.worker}", seen, do)
    sources = read_sources(place)
    evaluated = (*sources.accuracy, *_evaluations(folder, record, sources.manifest.weights.sha256))
    subject = subject_of(replace(sources, accuracy=evaluated))
    bench = subject.bench
    if bench is None:
        do = f"measure it again: {resume}"
        raise BadInput(f"{place} holds no benchmark", "the job is said to be done", do)
    return Told(
        device=Device(job.spec.place, job.worker, _about(job.worker, bench)),
        model=job.spec.model,
        source=str(place),
        weights=subject.weights,
        rows=bench.rows,
        not_run=tuple((what, why.replace(ASKED_FOR, IN_THE_MATRIX)) for what, why in bench.not_run),
        control=bench.control,
        reference=next((row.name for row in bench.rows if row.is_reference), None),
        complete=bench.complete,
        command=resume,
        folder=place,
    )


def _evaluations(folder: Path, record: FleetRecord, weights_sha256: str) -> Iterator[AccuracyFile]:
    """Of these weights, from where the run's models were exported: what a row's file costs is known by its hash."""
    named = [Path(str(entry.get("model", ""))) for entry in record.matrix.get("models", ())]
    exports = [*(place for place in named if place.is_absolute()), *sorted((folder.parent / EXPORTS).glob("*"))]
    for path in (path for place in exports for path in sorted((place / ACCURACY).glob("*.json"))):
        found = read_record(
            path, AccuracyFile, "evaluation", f"evaluate again: convnextpose evaluate {path.parent.parent}"
        )
        if found.weights.sha256 == weights_sha256:
            yield found


def _why(folder: Path, job: JobRecord) -> str:
    if job.outcome is not None:
        return f"{job.state}: {job.outcome.reason or 'no reason was given'}"
    if job.state == "running":
        return "it is being measured" if going_on(folder) else "its measuring was interrupted"
    return "it was not begun"


def _about(worker: str, bench: Bench) -> tuple[tuple[str, str], ...]:
    card = {name: value for name, value in device_card(bench) if name != "software"}
    return (("worker", worker), *_hardware(card, bench.environment), (POWER_MODE, NOT_RECORDED))


def _seen(record: FleetRecord, worker: str) -> tuple[tuple[str, str], ...]:
    """Of a device that has no result: what it said of itself when it was first asked."""
    environment = next((of.environment for of in record.devices if of.worker == worker), None)
    if not environment:
        return (("worker", worker),) if worker else ()
    host = environment.get("host", {})
    card = {"processor": str(host.get("cpu", "unknown")), "cores": f"{host.get('usable_cores', '?')} usable"}
    return (("worker", worker), *_hardware(card, environment))


def _hardware(card: Mapping[str, str], environment: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """With the driver, Python and every library on a line of its own, so that it is seen which of them differ."""
    software = environment.get("software", {})
    drivers = ", ".join(str(gpu.get("driver")) for gpu in environment.get("gpus") or ())
    return (
        *card.items(),
        *([("GPU driver", drivers)] if drivers else []),
        ("Python", str(software.get("python", "unknown"))),
        *((name, str(version)) for name, version in software.get("libraries", {}).items()),
    )
