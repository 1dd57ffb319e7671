"""``convnextpose report`` as a function: from folders to the files of a report, each whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.devices.told import Devices
from bench.report.devices.write import DevicesReport
from bench.report.recommend import Recommendation
from bench.report.subject import Subject
from bench.report.views import Page
from export.artifacts import require_writable, whole_file, write_text
from export.errors import BadInput

if TYPE_CHECKING:
    from bench.report.sources import Found

HTML, MARKDOWN, CSV, BADGE, JUNIT = "report.html", "report.md", "report.csv", "badge.json", "junit.xml"
PLACE = "report"
LARGEST_BYTES = 3_000_000
"""Of the page: what still opens at once on a phone, and may be attached to a mail."""


@dataclass(frozen=True)
class Report:
    """What was written, and what it says."""

    folder: Path
    files: tuple[Path, ...]
    subjects: tuple[tuple[Subject, Recommendation], ...]


@dataclass(frozen=True)
class Reports:
    """Everything that one call has written."""

    models: Report | None
    devices: tuple[DevicesReport, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data: the models' page, and beside it those of devices."""
        files = self.models.files if self.models else ()
        return {
            "schema_version": "1.1",
            "kind": "report",
            "files": [str(path) for path in files],
            "models": [
                {
                    "model": subject.model,
                    "folder": subject.folder,
                    "weights": subject.weights,
                    "recommended": found.row.id if found.row else None,
                    "artifact": found.row.file if found.row else None,
                    "reason": found.reason,
                    "passed_over": list(found.passed_over),
                    "caveat": found.caveat,
                }
                for subject, found in (self.models.subjects if self.models else ())
            ],
            "devices": [page.as_json() for page in self.devices],
        }


def write_reports(named: Sequence[Path], out: Path | None = None, gate: Path | None = None) -> Reports:
    """The page of the models named, and one of each fleet's run; of devices' reports that are named alone, one of all.

    Everything is read before anything is written. With the folder of one model, reports become a section of its page.

    Raises:
        BadInput: as ``write_report``; a run or a report is damaged, or of something else than the export that it is
            named with; or there are several pages, and one ``out``.
        NotPossible: the libraries of the extra are missing.
    """
    from bench.report.drawing import require_report_extra

    require_report_extra()
    from bench.report.sources import find_sources

    found = find_sources(named)
    if found.reports and (len(found.models) > 1 or found.runs):
        seen = f"{len(found.reports)} reports, {len(found.models)} models, {len(found.runs)} runs"
        raise BadInput("devices' reports belong to one model, or stand alone", seen, "name the model's folder alone")
    pages = bool(found.models) + len(found.runs) + bool(found.reports and not found.models)
    if out is not None and pages > 1:
        raise BadInput("one --out for several pages", f"{pages} pages", "name one thing at a time, or leave --out away")
    if gate is not None and not found.models:
        raise BadInput("a comparison is of a model", f"{gate}, and no model is named", "name the candidate's folder")
    devices = _read_devices(found, out)
    models = write_report(found.models, out, gate, found.reports) if found.models else None
    return Reports(models, tuple(_write_devices(place, of) for place, of in devices))


def _read_devices(found: "Found", out: Path | None) -> list[tuple[Path, Devices]]:
    """Where each page of devices goes, and what it is made of."""
    from bench.report.devices.belongs import read_reports, require_of_place
    from bench.report.devices.from_fleet import read_run
    from bench.report.devices.from_reports import devices_of

    devices = [(out or run / PLACE, read_run(run)) for run in found.runs]
    if found.reports and not found.models:
        reports = read_reports(found.reports)
        for path, report in reports:
            require_of_place(path, report)
        devices.append((out or beside(found.reports[0]), devices_of(reports)))
    for place, _ in devices:
        require_writable(place)
    return devices


def beside(report: Path) -> Path:
    """Where the page of a device's report goes: beside the file, and never into a bundle, which that would change."""
    folder = report.parent
    return (folder.parent if (folder / "verify.py").is_file() else folder) / PLACE


def write_report(
    named: Sequence[Path], out: Path | None = None, gate: Path | None = None, reports: Sequence[Path] = ()
) -> Report:
    """One model: its page, by default in its ``report``. Several: one page of all, in a ``report`` beside them.

    Args:
        named: folders of models, or folders of such.
        out: where to write.
        gate: what ``compare`` found about the one model.
        reports: what devices said about the one model, beside those in its folder.

    Raises:
        BadInput: no export there, files that do not belong together, models of different machines, or one comparison
            for several models.
        NotPossible: the libraries of the extra are missing.
    """
    from bench.report.drawing import require_report_extra

    require_report_extra()
    from bench.report.comparison import comparison_of
    from bench.report.from_export import read_subject
    from bench.report.one_model import page_of
    from bench.report.sources import find_sources

    folders = find_sources(named).models
    if gate is not None and len(folders) > 1:
        seen = f"{gate} and {len(folders)} models: {', '.join(map(str, folders))}"
        raise BadInput("a comparison is of one model", seen, "name the folder of the candidate alone")
    subjects = [read_subject(folder, gate, reports) for folder in folders]
    if len(subjects) == 1:
        page, found = page_of(subjects[0])
        pairs, place = [(subjects[0], found)], out or folders[0] / PLACE
    else:
        page, pairs = comparison_of(subjects)
        place = out or folders[0].parent / PLACE
    require_writable(place)
    return Report(place, tuple(_write(place, page, pairs)), tuple(pairs))


def _write(place: Path, page: Page, pairs: Sequence[tuple[Subject, Recommendation]]) -> list[Path]:
    """All files of a page of models."""
    from bench.report.badge import badge
    from bench.report.junit import junit
    from bench.report.markdown import markdown
    from bench.report.page import html
    from bench.report.table_csv import report_csv

    texts = {HTML: html(page), MARKDOWN: markdown(page, pairs), CSV: report_csv(pairs)}
    subject, found = pairs[0]
    if len(pairs) == 1 and subject.gate is not None:
        texts[JUNIT] = junit(subject.gate, subject.model)
    if len(pairs) == 1:
        texts[BADGE] = json.dumps(badge(subject, found), indent=2) + "\n"
    return _write_files(place, page, texts)


def _write_devices(place: Path, devices: Devices) -> DevicesReport:
    from bench.report.devices.page import devices_page
    from bench.report.devices.write import devices_csv
    from bench.report.markdown import devices_markdown
    from bench.report.page import html

    page = devices_page(devices)
    texts = {HTML: html(page), MARKDOWN: devices_markdown(page), CSV: devices_csv(devices)}
    return DevicesReport(place, tuple(_write_files(place, page, texts)), devices)


def _write_files(place: Path, page: Page, texts: Mapping[str, str]) -> list[Path]:
    """Texts and pictures; what an earlier report had beside them is removed, for it would be believed."""
    from bench.report import drawing
    from bench.report.markdown import PICTURES, pictures

    drawn = {f"{figure.id}.png": drawing.png(figure.spec) for figure in pictures(page)}
    written = [place / name for name in (*texts, *drawn)]
    for name, text in texts.items():
        write_text(place / name, text)
    for name, picture in drawn.items():
        with whole_file(place / name) as partial:
            partial.write_bytes(picture)
    earlier = [
        path for name in PICTURES for pattern in (f"{name}.png", f"{name}-*.png") for path in place.glob(pattern)
    ]
    for path in (place / JUNIT, place / BADGE, *earlier):
        if path not in written:
            path.unlink(missing_ok=True)
    return written
