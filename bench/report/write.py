"""``convnextpose report`` as a function: from folders to the files of a report, each whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.devices.write import DevicesReport
from bench.report.links import HTML, addresses_from
from bench.report.recommend import Recommendation
from bench.report.subject import Subject
from bench.report.views import Page
from export.artifacts import whole_file, write_text
from export.errors import BadInput

if TYPE_CHECKING:
    from bench.report.pages import DevicesPage, ModelsPage

MARKDOWN, CSV, BADGE, JUNIT = "report.md", "report.csv", "badge.json", "junit.xml"
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
    refused: tuple[BadInput, ...] = ()
    """Why a page, or a model on a page of several, is missing."""

    def as_json(self) -> dict[str, Any]:
        """Plain data: the models' page, and beside it those of devices."""
        files = self.models.files if self.models else ()
        return {
            "schema_version": "1.2",
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
            "refused": [{"what": of.what, "seen": of.seen, "do": of.do} for of in self.refused],
        }


def write_reports(named: Sequence[Path], out: Path | None = None, gate: Path | None = None) -> Reports:
    """The page of the models named, and one of each fleet's run; of devices' reports that are named alone, one of all.

    One model: its page, by default in its ``report``. Several: one page of all, in a ``report`` beside them. With the
    folder of one model, devices' reports become a section of its page. Everything is read before anything is written.

    Args:
        named: folders of models or runs, folders of such, and devices' reports.
        out: where to write.
        gate: what ``compare`` found about the one model.

    Returns:
        What was written; and in ``refused`` what could not be made, because it is damaged, or of something else than
        what it stands with: all other pages are written nevertheless.

    Raises:
        BadInput: there is nothing to report on, or the arguments contradict each other.
        NotPossible: the libraries of the extra are missing.
    """
    from bench.report.drawing import require_report_extra

    require_report_extra()
    from bench.report.pages import read_pages

    pages = read_pages(named, out, gate)
    written = [of.place / HTML for of in (pages.models, *pages.devices) if of is not None]
    return Reports(
        _write_models(pages.models, written) if pages.models else None,
        tuple(_write_devices(of, written) for of in pages.devices),
        pages.refused,
    )


def _write_models(of: "ModelsPage", written: Sequence[Path]) -> Report:
    from bench.report.badge import badge
    from bench.report.junit import junit
    from bench.report.markdown import markdown
    from bench.report.page import html
    from bench.report.table_csv import report_csv

    texts = {
        HTML: html(of.page, addresses_from(of.place, written)),
        MARKDOWN: markdown(of.page, of.subjects),
        CSV: report_csv(of.subjects),
    }
    subject, found = of.subjects[0]
    if of.alone and subject.gate is not None:
        texts[JUNIT] = junit(subject.gate, subject.model)
    if of.alone:
        texts[BADGE] = json.dumps(badge(subject, found), indent=2) + "\n"
    return Report(of.place, tuple(_write_files(of.place, of.page, texts)), of.subjects)


def _write_devices(of: "DevicesPage", written: Sequence[Path]) -> DevicesReport:
    from bench.report.devices.page import devices_page
    from bench.report.devices.write import devices_csv
    from bench.report.markdown import devices_markdown
    from bench.report.page import html

    page = devices_page(of.devices)
    texts = {
        HTML: html(page, addresses_from(of.place, written)),
        MARKDOWN: devices_markdown(page),
        CSV: devices_csv(of.devices),
    }
    return DevicesReport(of.place, tuple(_write_files(of.place, page, texts)), of.devices)


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
