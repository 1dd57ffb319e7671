"""From what a user names to the pages that are made of it: everything is read here, before anything is written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.report.comparison import comparison_of
from bench.report.devices.belongs import read_reports, require_of_place
from bench.report.devices.from_fleet import read_run
from bench.report.devices.from_reports import devices_of
from bench.report.devices.told import Devices
from bench.report.from_export import read_subject
from bench.report.links import PLACE
from bench.report.one_model import page_of
from bench.report.recommend import Recommendation
from bench.report.sources import Found, find_sources
from bench.report.subject import Subject
from bench.report.views import Page
from export.artifacts import require_writable
from export.errors import BadInput
from export.plain import printable


@dataclass(frozen=True)
class ModelsPage:
    """The page of one model, or of several."""

    place: Path
    page: Page
    subjects: tuple[tuple[Subject, Recommendation], ...]
    alone: bool
    """Whether it is of one model, and not of what is left of several."""


@dataclass(frozen=True)
class DevicesPage:
    """The page of several devices."""

    place: Path
    devices: Devices


@dataclass(frozen=True)
class Pages:
    """All that one call writes."""

    models: ModelsPage | None
    devices: tuple[DevicesPage, ...]
    refused: tuple[BadInput, ...]
    """Why a page, or a model on a page of several, is missing."""


def read_pages(named: Sequence[Path], out: Path | None, gate: Path | None) -> Pages:
    """The page of the models named, one of each fleet's run, and one of devices' reports that are named alone.

    Raises:
        BadInput: there is nothing to report on, or the arguments contradict each other.
    """
    found, refused = find_sources(named), list[BadInput]()
    _require_clear(found, out, gate)
    models, devices = _models(found, out, gate, refused), list[DevicesPage]()
    for run in found.runs:
        with _or_refused(refused):
            devices.append(_devices(out or run / PLACE, read_run(run)))
    if found.reports and not found.models:
        with _or_refused(refused):
            devices.append(_devices(out or beside(found.reports[0]), _read_reports(found.reports)))
    return Pages(models, tuple(devices), tuple(refused))


def beside(report: Path) -> Path:
    """Where the page of a device's report goes: beside the file, and never into a bundle, which that would change."""
    folder = report.parent
    return (folder.parent if (folder / "verify.py").is_file() else folder) / PLACE


def _require_clear(found: Found, out: Path | None, gate: Path | None) -> None:
    """See that it is clear what belongs on which page.

    Raises:
        BadInput: it is not.
    """
    if found.reports and (len(found.models) > 1 or found.runs):
        seen = f"{len(found.reports)} reports, {len(found.models)} models, {len(found.runs)} runs"
        raise BadInput("devices' reports belong to one model, or stand alone", seen, "name the model's folder alone")
    pages = bool(found.models) + len(found.runs) + bool(found.reports and not found.models)
    if out is not None and pages > 1:
        raise BadInput("one --out for several pages", f"{pages} pages", "name one thing at a time, or leave --out away")
    if gate is not None and not found.models:
        raise BadInput("a comparison is of a model", f"{gate}, and no model is named", "name the candidate's folder")
    if gate is not None and len(found.models) > 1:
        seen = f"{gate} and {len(found.models)} models: {', '.join(map(str, found.models))}"
        raise BadInput("a comparison is of one model", seen, "name the folder of the candidate alone")


@contextmanager
def _or_refused(refused: list[BadInput]) -> Iterator[None]:
    """What is wrong with one page, or one model, is no reason to lose the others."""
    try:
        yield
    except BadInput as failure:
        refused.append(failure)


def _models(found: Found, out: Path | None, gate: Path | None, refused: list[BadInput]) -> ModelsPage | None:
    """Of several models those that can be read; the page says which are missing."""
    subjects, alone = list[Subject](), len(found.models) == 1
    for folder in found.models:
        with _or_refused(refused):
            subjects.append(read_subject(folder, gate, found.reports))
    if not subjects:
        return None
    place = out or (found.models[0] if alone else found.models[0].parent) / PLACE
    missing = tuple(printable(f"not on this page: {failure.what} ({failure.seen})") for failure in refused)
    with _or_refused(refused):
        require_writable(place)
        if alone:
            page, one = page_of(subjects[0])
            return ModelsPage(place, page, ((subjects[0], one),), alone)
        page, pairs = comparison_of(subjects)
        return ModelsPage(place, replace(page, notices=(*missing, *page.notices)), tuple(pairs), alone)
    return None


def _devices(place: Path, devices: Devices) -> DevicesPage:
    require_writable(place)
    return DevicesPage(place, devices)


def _read_reports(paths: Sequence[Path]) -> Devices:
    reports = read_reports(paths)
    for path, report in reports:
        require_of_place(path, report)
    return devices_of(reports)
