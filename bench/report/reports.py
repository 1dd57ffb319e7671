"""Reports from files and folders: everything is read and checked here, before anything is written."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.fleet.record import read_fleet
from bench.report import commands, fleet_run
from bench.report.device_report_checks import DEVICES, read_reports, require_alike, require_of_export, require_of_place
from bench.report.device_reports import measurements_of, same_machine
from bench.report.measurement import Measurement, measurement_of
from bench.report.model_files import ModelFiles, read_model_files
from bench.report.pages import Content, devices_page, model_page, models_page
from bench.report.recommend import Choice
from bench.report.sources import Sources, find_sources
from bench.report.views import Page
from export.common.errors import BadInput
from export.common.files import require_writable
from export.common.plain import printable

PLACE = "report"


@dataclass(frozen=True)
class Report:
    """One report: a page, and the folder that it goes to."""

    folder: Path
    page: Page
    choices: tuple[Choice, ...]
    files: tuple[Path, ...] = ()
    """Files that were written."""


@dataclass(frozen=True)
class Reports:
    """All reports of one call."""

    models: Report | None
    devices: tuple[Report, ...]
    refused: tuple[BadInput, ...] = ()
    """The reason if a page, or a model on a page of several, is missing."""


def read_all(paths: Sequence[Path], out: Path | None = None, gate: Path | None = None) -> Reports:
    """Read one page for all models, one for each fleet run, and one for device reports without a model.

    Raises:
        BadInput: there is nothing to report on, or the arguments contradict each other.
    """
    sources, refused = find_sources(paths), list[BadInput]()
    _require_unambiguous(sources, out, gate)
    models, devices = _read_models(sources, out, gate, refused), list[Report]()
    for run in sources.runs:
        with _collect(refused):
            devices.append(_report(out or run / PLACE, _read_run(run)))
    if sources.reports and not sources.models:
        with _collect(refused):
            place = out or beside(sources.reports[0])
            devices.append(_report(place, _read_device_reports(sources.reports)))
    return Reports(models, tuple(devices), tuple(refused))


def beside(report: Path) -> Path:
    """Return the place of a device report's page: never within a bundle, which that would change."""
    folder = report.parent
    return (folder.parent if (folder / "verify.py").is_file() else folder) / PLACE


def _require_unambiguous(sources: Sources, out: Path | None, gate: Path | None) -> None:
    """Check that the arguments allow one division into pages."""
    if sources.reports and (len(sources.models) > 1 or sources.runs):
        detail = f"{len(sources.reports)} reports, {len(sources.models)} models, {len(sources.runs)} runs"
        raise BadInput("device reports belong to one model, or to none", detail, "name one model's folder, or none")
    pages = bool(sources.models) + len(sources.runs) + bool(sources.reports and not sources.models)
    if out is not None and pages > 1:
        raise BadInput("one --out for several pages", f"{pages} pages", "name one folder at a time, or omit --out")
    if gate is not None and len(sources.models) != 1:
        detail = f"{gate} and {len(sources.models)} models"
        raise BadInput("a comparison is of one model", detail, "name the candidate's folder only")


@contextmanager
def _collect(refused: list[BadInput]) -> Iterator[None]:
    """Collect a refusal, so that one damaged model or run costs no other page."""
    try:
        yield
    except BadInput as failure:
        refused.append(failure)


def _read_models(sources: Sources, out: Path | None, gate: Path | None, refused: list[BadInput]) -> Report | None:
    """Read one model, or those of several that can be read; the page says which are missing."""
    read, single = list[tuple[Measurement, ModelFiles, list[Measurement]]](), len(sources.models) == 1
    for folder in sources.models:
        with _collect(refused):
            files = read_model_files(folder, gate)
            on_devices = _devices_of(files, sources.reports) if single else []
            read.append((measurement_of(files, commands.portable_command("bench", folder)), files, on_devices))
    if not read:
        return None
    missing = tuple(printable(f"not on this page: {failure.problem} ({failure.detail})") for failure in refused)
    with _collect(refused):
        place = out or (sources.models[0] if single else sources.models[0].parent) / PLACE
        page, choices = model_page(*read[0]) if single else models_page([measurement for measurement, _, _ in read])
        return _report(place, (replace(page, notices=(*missing, *page.notices)), choices))
    return None


def _devices_of(files: ModelFiles, paths: Sequence[Path]) -> list[Measurement]:
    """Read the device reports of an export: those in its folder, and the given ones."""
    reports = read_reports([*sorted((files.folder / DEVICES).glob("*.json")), *paths])
    for path, report in reports:
        require_of_export(path, report, files.manifest)
    sizes = {artifact.sha256: artifact.size_bytes for artifact in files.manifest.artifacts}
    return measurements_of(reports, files.evaluations, sizes)


def _report(place: Path, content: Content) -> Report:
    require_writable(place)
    return Report(place, *content)


def _read_run(folder: Path) -> Content:
    record = read_fleet(folder)
    places = dict.fromkeys(job.spec.place for job in record.jobs)
    return devices_page(
        f"{record.run}: {', '.join(places)}",
        f"{folder}, a fleet's run, begun {record.created}, last change {record.updated}",
        fleet_run.read_measurements(folder, record),
        notices=fleet_run.notices_of(record),
        gaps=fleet_run.devices_without_work(record),
        reproduce=fleet_run.commands_of(folder, record),
    )


def _read_device_reports(paths: Sequence[Path]) -> Content:
    reports = read_reports(paths)
    for path, report in reports:
        require_of_place(path, report)
        first = next(other for other in reports if other[1].bundle.model == report.bundle.model)
        require_alike(*first, path, report)
    measurements = measurements_of(reports)
    bundles = dict.fromkeys((report.bundle.model, report.bundle.id) for _, report in reports)
    models = dict.fromkeys(measurement.model for measurement in measurements)
    devices = dict.fromkeys(measurement.device for measurement in measurements)
    return devices_page(
        f"{', '.join(models)} on {', '.join(devices)}",
        f"reported by the bundles' verifiers: {', '.join(str(path) for path, _ in reports)}",
        measurements,
        notices=same_machine(reports, measurements),
        gaps=(),
        reproduce=(
            *(f"python3 verify.py --expect {bundle}  # in {shlex.quote(model)}-bundle" for model, bundle in bundles),
            commands.portable_command("report", *(path for path, _ in reports)),
        ),
    )
