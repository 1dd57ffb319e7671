"""Sections about an export: errors and accuracy of its files, its architecture, its files, the gate's decision."""

from collections.abc import Sequence

from bench.accuracy.record import AccuracyLoss
from bench.report import commands
from bench.report.model_files import ModelFiles
from bench.report.records import Comparison
from bench.report.rows import ratio_text
from bench.report.views import Cell, Line, Missing, Section, Table, Tone, parity_tone
from bench.results import cells
from export.common.plain import show_list
from export.model.joint_sets import joint_set

HASH_DIGITS = 16
"""Digits of a hash that are shown; the manifest has all."""
GATE_TONES: dict[str, Tone] = {
    "PASS": "good",
    "IMPROVED": "good",
    "FAIL": "bad",
    "INCONCLUSIVE": "warn",
    "REFUSED": "warn",
}


def gate(comparison: Comparison) -> Section:
    """Return the gate's decision: may this export replace the baseline?"""
    lines = [
        Line(
            (
                Cell(cell.id),
                Cell(cell.outcome, "; ".join(cell.reasons), GATE_TONES[cell.outcome]),
                Cell(ratio_text(ratio.median, ratio.low, ratio.high) if (ratio := cell.slowdown) else cells.NOTHING),
                Cell(f"{1 + cell.allowed:.3f}"),
            )
        )
        for cell in comparison.cells
    ]
    lead = [f"{comparison.outcome}, {comparison.mode}.", *comparison.reasons]
    lead += [] if comparison.complete else ["It was interrupted."]
    caption = "Time of the candidate over time of the baseline: above 1 is slower."
    table = Table(caption, ("cell", "outcome", "slowdown", "allowed"), tuple(lines))
    return Section("gate", f"The gate: {comparison.outcome}", tuple(lead), tables=(table,) if lines else ())


def joints(files: ModelFiles) -> Section:
    """Return the errors of every exported file, by joint too, and everything that was evaluated."""
    missing = () if files.manifest.parity else (Missing("parity", "the manifest has none", commands.export(files)),)
    tables = (*_parity_table(files), *_accuracy_table(files), *_joint_table(files))
    return Section("joints", "Errors of every file and joint", missing=missing, tables=tables, folded=True)


def _joint_table(files: ModelFiles) -> list[Table]:
    reports, names = files.manifest.parity, joint_set(files.manifest.architecture.joints).joints
    lines = [
        Line((Cell(name), *(_joint_cell(report.per_joint_max_mm, index) for report in reports)))
        for index, name in enumerate(names)
    ]
    caption = "Largest distance (mm) of each joint from the reference model in FP64, over all parity images."
    return [Table(caption, ("joint", *(report.variant for report in reports)), tuple(lines))] if reports else []


def _joint_cell(errors_mm: Sequence[float | None], index: int) -> Cell:
    if index >= len(errors_mm):
        return Cell(cells.NOTHING)
    error_mm = errors_mm[index]
    return Cell("not finite", tone="bad") if error_mm is None else Cell(cells.millimetres(error_mm))


def _parity_table(files: ModelFiles) -> list[Table]:
    columns = ("file", "parity", "mean (mm)", "p99 (mm)", "max (mm)", "worst joint", "images", "run by")
    lines = []
    for parity in files.manifest.parity:
        error = parity.candidate
        lines.append(
            Line(
                (
                    Cell(parity.variant, parity.artifact),
                    Cell(parity.status, parity.reason, parity_tone(parity.status)),
                    *(
                        Cell("not finite" if mm is None else f"{mm:.3g}")
                        for mm in (error.mean_mm, error.p99_mm, error.max_mm)
                    ),
                    Cell(parity.worst_joint_name),
                    Cell(f"{parity.images.count} {parity.images.source}"),
                    Cell(parity.runtime),
                )
            )
        )
    return [Table("Export error of every file, of its worst run.", columns, tuple(lines))] if lines else []


def _accuracy_table(files: ModelFiles) -> list[Table]:
    columns = ("evaluated", "MPJPE (mm)", "accuracy loss (mm MPJPE)", "dataset", "run by")
    lines = [
        Line(
            (
                Cell(evaluated.name),
                Cell(f"{evaluated.mpjpe_mm:.2f}" if evaluated.mpjpe_mm is not None else "unknown"),
                Cell(_loss(evaluated.accuracy_loss_mm)),
                Cell(f"{evaluation.dataset.samples:,} samples of {evaluation.dataset.name}"),
                Cell(evaluated.run_by),
            )
        )
        for evaluation in files.evaluations
        for evaluated in evaluation.rows
    ]
    return [Table("Accuracy on annotated images, with 95 % intervals.", columns, tuple(lines))] if lines else []


def _loss(loss: AccuracyLoss | None) -> str:
    if loss is None:
        return cells.NOTHING
    return f"{loss.mean:+.3f}" + (f" [{loss.low:+.3f}, {loss.high:+.3f}]" if loss.low is not None else "")


def architecture(files: ModelFiles) -> Section:
    """Return where each field of the architecture comes from."""
    manifest = files.manifest
    lines = [
        Line(
            (
                Cell(row.field, "" if row.agrees else "not as declared", "" if row.agrees else "warn"),
                *(Cell(show_list(value)) for value in (row.declared, row.detected, row.used)),
                Cell(row.source, row.reason),
            )
        )
        for row in manifest.verdict
    ]
    wrong = [row.field for row in manifest.verdict if not row.agrees]
    weights = f"Weights: {manifest.weights.origin}, sha256 {manifest.weights.sha256[:16]}."
    lead = f"Not as declared: {', '.join(wrong)}." if wrong else "The weights agree with the declaration."
    table = Table("Each field, and its source.", ("field", "declared", "detected", "used", "source"), tuple(lines))
    return Section("architecture", "Architecture", (f"{weights} {lead}",), tables=(table,), folded=True)


def exported_files(files: ModelFiles) -> Section:
    """Return every file of the export with its hash, and the versions that made it."""
    lines = [
        Line(
            (
                Cell(artifact.path),
                Cell(artifact.precision),
                Cell(cells.megabytes(artifact.size_bytes)),
                Cell(artifact.status),
                Cell(artifact.sha256[:HASH_DIGITS]),
            )
        )
        for artifact in files.manifest.artifacts
    ]
    tools = ", ".join(f"{name} {version}" for name, version in files.manifest.tools.items())
    table = Table(f"Made with {tools}.", ("file", "precision", "size", "status", "sha256 begins"), tuple(lines))
    return Section("files", "Files", tables=(table,), folded=True)
