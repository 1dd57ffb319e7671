"""May this export replace that one? What ``compare`` found."""

from bench import cells
from bench.report.subject import Gate
from bench.report.views import Cell, Line, Section, Table, Tone

TONES: dict[str, Tone] = {"PASS": "good", "IMPROVED": "good", "FAIL": "bad", "INCONCLUSIVE": "warn", "REFUSED": "warn"}


def gate(found: Gate) -> Section:
    """Every cell with its outcome."""
    lines = [
        Line(
            (
                Cell(cell.id),
                Cell(cell.outcome, "; ".join(cell.reasons), TONES[cell.outcome]),
                Cell(cells.ratio(of.median, of.low, of.high) if (of := cell.slowdown) else cells.NOTHING),
                Cell(f"{1 + cell.allowed:.3f}"),
            )
        )
        for cell in found.cells
    ]
    lead = [f"{found.outcome}, {found.mode}.", *found.reasons, *([] if found.complete else ["It was interrupted."])]
    table = Table("Candidate over baseline: above 1 is slower.", ("cell", "outcome", "ratio", "allowed"), tuple(lines))
    return Section("gate", "The gate", tuple(lead), tables=(table,) if lines else ())
