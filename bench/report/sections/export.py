"""Sections about an export: the errors of its files, its architecture, its files, the gate's decision."""

from bench.gate.decision import Comparison
from bench.report.model_files import ModelFiles
from bench.report.rows import ratio_text
from bench.report.views import Cell, Section, Table, Tone, line, parity_tone
from bench.results import cells
from export.common.plain import show_list
from export.model.joint_sets import joint_set

HASH_DIGITS = 16
"""Digits of a hash that are shown; the manifest has all."""
GATE_TONES: dict[str, Tone] = {"PASS": "good", "IMPROVED": "good", "FAIL": "bad", "INCONCLUSIVE": "warn"}


def gate(comparison: Comparison) -> Section:
    """Return the gate's decision: may this export replace the baseline?"""
    lines = [
        line(
            cell.id,
            Cell(cell.outcome, "; ".join(cell.reasons), GATE_TONES[cell.outcome]),
            ratio_text(ratio.median, ratio.low, ratio.high) if (ratio := cell.slowdown) else cells.NOTHING,
            f"{1 + cell.allowed:.3f}",
            ratio_text(control.median, control.low, control.high) if (control := cell.control) else cells.NOTHING,
        )
        for cell in comparison.cells
    ]
    lead = [] if comparison.complete else ["It was interrupted."]
    caption = "Time of the candidate over time of the baseline: above 1 is slower. Control: the baseline over itself."
    table = Table(caption, ("cell", "outcome", "slowdown", "allowed", "control"), tuple(lines))
    return Section("gate", f"The gate: {comparison.outcome}", tuple(lead), tables=(table,) if lines else ())


def joints(files: ModelFiles) -> Section:
    """Return the export error of every file, and of its joints, in a column each."""
    reports = files.manifest.parity
    lines = [
        line("parity", *(Cell(report.status, report.reason, parity_tone(report.status)) for report in reports)),
        line("mean", *(_millimetres(report.candidate.mean_mm) for report in reports)),
        line("p99", *(_millimetres(report.candidate.p99_mm) for report in reports)),
        line("max", *(_millimetres(report.candidate.max_mm) for report in reports)),
        line("images", *(f"{report.images.count} {report.images.source}" for report in reports)),
        line("run by", *(report.runtime for report in reports)),
    ]
    for index, name in enumerate(joint_set(files.manifest.architecture.joints).joints):
        errors_mm = (report.per_joint_max_mm[index : index + 1] for report in reports)
        values = (_millimetres(*error_mm) if error_mm else cells.NOTHING for error_mm in errors_mm)
        lines.append(line(f"max, {name}", *values))
    caption = "Distance (mm) from the reference model in FP64, of its worst run, over all parity images."
    table = Table(caption, ("error", *(report.variant for report in reports)), tuple(lines))
    return Section("joints", "Export error of every file and joint", tables=(table,) if reports else (), folded=True)


def _millimetres(error_mm: float | None) -> Cell:
    return Cell("not finite", tone="bad") if error_mm is None else Cell(f"{error_mm:.3g}")


def architecture(files: ModelFiles) -> Section:
    """Return where each field of the architecture comes from."""
    manifest = files.manifest
    lines = [
        line(
            Cell(row.field, "" if row.agrees else "not as declared", "" if row.agrees else "warn"),
            *map(show_list, (row.declared, row.detected, row.used)),
            Cell(row.source, row.reason),
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
        line(
            artifact.path,
            artifact.precision,
            cells.megabytes(artifact.size_bytes),
            artifact.status,
            artifact.sha256[:HASH_DIGITS],
        )
        for artifact in files.manifest.artifacts
    ]
    tools = ", ".join(f"{name} {version}" for name, version in files.manifest.tools.items())
    table = Table(f"Made with {tools}.", ("file", "precision", "size", "status", "sha256 begins"), tuple(lines))
    return Section("files", "Files", tables=(table,), folded=True)
