"""``convnextpose report`` as a function: from folders to the files of a report, each whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.recommend import Recommendation
from bench.report.subject import Subject
from bench.report.views import Page
from export.artifacts import require_writable, whole_file, write_json, write_text
from export.errors import BadInput

HTML, MARKDOWN, CSV, BADGE, JUNIT = "report.html", "report.md", "report.csv", "badge.json", "junit.xml"
LARGEST_BYTES = 3_000_000
"""Of the page: what still opens at once on a phone, and may be attached to a mail."""


@dataclass(frozen=True)
class Report:
    """What was written, and what it says."""

    folder: Path
    files: tuple[Path, ...]
    subjects: tuple[tuple[Subject, Recommendation], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema_version": "1.0",
            "kind": "report",
            "files": [str(path) for path in self.files],
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
                for subject, found in self.subjects
            ],
        }


def write_report(named: Sequence[Path], out: Path | None = None, gate: Path | None = None) -> Report:
    """One folder: its page, by default in its ``report``. Several: one page of all, in a ``report`` beside them.

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
    from bench.report.sources import find_folders

    folders = find_folders(list(named))
    if gate is not None and len(folders) > 1:
        seen = f"{gate} and {len(folders)} models: {', '.join(map(str, folders))}"
        raise BadInput("a comparison is of one model", seen, "name the folder of the candidate alone")
    subjects = [read_subject(folder, gate) for folder in folders]
    if len(subjects) == 1:
        page, found = page_of(subjects[0])
        pairs, place = [(subjects[0], found)], out or folders[0] / "report"
    else:
        page, pairs = comparison_of(subjects)
        place = out or folders[0].parent / "report"
    require_writable(place)
    return Report(place, tuple(_write(place, page, pairs)), tuple(pairs))


def _write(place: Path, page: Page, pairs: Sequence[tuple[Subject, Recommendation]]) -> list[Path]:
    """All files; those of an earlier report that this one does not have are removed, for they would be believed."""
    from bench.report import drawing
    from bench.report.badge import badge
    from bench.report.junit import junit
    from bench.report.markdown import PICTURES, markdown, pictures
    from bench.report.page import html
    from bench.report.table_csv import report_csv

    texts = {HTML: html(page), MARKDOWN: markdown(page, pairs), CSV: report_csv(pairs)}
    subject, found = pairs[0]
    if len(pairs) == 1 and subject.gate is not None:
        texts[JUNIT] = junit(subject.gate, subject.model)
    drawn = {f"{figure.id}.png": drawing.png(figure.spec) for figure in pictures(page)}
    written = [place / name for name in (*texts, *drawn)]
    for name, text in texts.items():
        write_text(place / name, text)
    for name, picture in drawn.items():
        with whole_file(place / name) as partial:
            partial.write_bytes(picture)
    if len(pairs) == 1:
        write_json(place / BADGE, badge(subject, found))
        written.append(place / BADGE)
    for name in (JUNIT, BADGE, *(f"{identity}.png" for identity in PICTURES)):
        if place / name not in written:
            (place / name).unlink(missing_ok=True)
    return written
