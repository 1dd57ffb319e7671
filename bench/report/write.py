"""``convnextpose report`` as a function: from folders to the files of a report, each whole or not at all."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.report.html import html
from bench.report.markdown import markdown
from bench.report.recommend import Choice
from bench.report.reports import Report, Reports, read_all
from bench.report.rows import headline, parity_status
from bench.report.views import Page, clean
from export.common.files import write_text


def write_reports(paths: Sequence[Path], out: Path | None = None, gate: Path | None = None) -> Reports:
    """Write one page for all models, one for each fleet run, and one for device reports without a model.

    One model: its page, by default in its ``report``. Several: one page of all, in a ``report`` beside them. With the
    folder of one model, device reports become a section of its page. Everything is read before anything is written.

    Args:
        paths: folders of models or runs, folders of such, and device reports.
        out: where to write.
        gate: what ``compare`` found about the one model.

    Returns:
        What was written; and in ``refused`` what could not be made, because it is damaged or does not belong to what it
        stands with. All other pages are written nevertheless.

    Raises:
        BadInput: there is nothing to report on, or the arguments contradict each other.
    """
    read = read_all(paths, out, gate)
    return Reports(_write(read.models) if read.models else None, tuple(map(_write, read.devices)), read.refused)


def as_json(reports: Reports) -> dict[str, Any]:
    """Return plain data: the page of models, and beside it those of devices."""
    models = reports.models
    return {
        "schema_version": "2.0",
        "kind": "report",
        "files": [str(path) for path in models.files] if models else [],
        "models": [_plain(choice) for choice in models.choices] if models else [],
        "devices": [
            {
                "title": report.page.title,
                "files": [str(path) for path in report.files],
                "measurements": [_plain(choice) for choice in report.choices],
            }
            for report in reports.devices
        ],
        "refused": [
            {"what": failure.problem, "seen": failure.detail, "do": failure.advice} for failure in reports.refused
        ],
    }


def _write(report: Report) -> Report:
    page: Page = clean(report.page)
    texts = {report.folder / "report.html": html(page), report.folder / "report.md": markdown(page)}
    for path, text in texts.items():
        write_text(path, text)
    return replace(report, files=tuple(texts))


def _plain(choice: Choice) -> dict[str, Any]:
    measurement, row = choice.measurement, choice.row
    latency, up = (headline(row), row.speed_up) if row else (None, None)
    return {
        "model": measurement.model,
        "device": measurement.device or None,
        "folder": measurement.source,
        "weights": measurement.weights,
        "recommended": row.id if row else None,
        "artifact": row.artifact if row else None,
        "p50_ms": latency.p50_ms if latency else None,
        "reference": measurement.reference,
        "speed_up": {"median": up.median, "low": up.low, "high": up.high} if up else None,
        "verdict": row.verdict if row else None,
        "parity": parity_status(row) if row else None,
        "reason": choice.reason,
        "passed_over": list(choice.passed_over),
        "caveat": choice.caveat,
        "missing": measurement.missing,
    }
