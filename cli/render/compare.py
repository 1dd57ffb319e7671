"""A comparison as a table, and as an exit code."""

from rich.markup import escape

from bench.gate.compare import Comparison
from cli.console import out, table
from export.common.errors import CheckFailed, Inconclusive, NotPossible

STYLE = {"PASS": "green", "IMPROVED": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "REFUSED": "yellow"}


def comparison(found: Comparison) -> None:
    """Every cell with its interval; then each one's reason."""
    shown = table("cell", "boundary", "candidate / baseline", "allowed", "control", "rounds", "outcome")
    for cell in found.cells:
        ratio, control = "–", "–"
        if cell.slowdown is not None:
            ratio = f"{cell.slowdown.median:.3f} \\[{cell.slowdown.low:.3f}, {cell.slowdown.high:.3f}]"
        if cell.control is not None:
            control = f"{cell.control.median:.3f} \\[{cell.control.low:.3f}, {cell.control.high:.3f}]"
        style = STYLE[cell.outcome]
        allowed = f"{1 + cell.allowed:.3f}"
        shown.add_row(cell.id, cell.boundary, ratio, allowed, control, str(cell.rounds), f"[{style}]{cell.outcome}[/]")
    out.print(f"\n[bold]Candidate against baseline[/], {found.mode}")
    if found.cells:
        out.print(shown)
    for cell in found.cells:
        out.print(f"{cell.outcome} {cell.id}: {escape('; '.join(cell.reasons))}", soft_wrap=True)
        for note in cell.notes:
            out.print(f"  {escape(note)}", soft_wrap=True)
    out.print(f"[{STYLE[found.outcome]}]{found.outcome}[/]")


def require_pass(found: Comparison) -> None:
    """The exit code of the outcome.

    Raises:
        CheckFailed: FAIL.
        Inconclusive: INCONCLUSIVE.
        NotPossible: REFUSED.
    """
    reasons = "; ".join(f"{c.id}: {', '.join(c.reasons)}" for c in found.cells if c.outcome == found.outcome)
    if found.outcome == "FAIL":
        raise CheckFailed("the candidate is worse than the baseline", reasons, "do not merge it")
    if found.outcome == "INCONCLUSIVE":
        raise Inconclusive("it cannot be said whether the candidate is worse", reasons, "measure on a quieter machine")
    if found.outcome == "REFUSED":
        do = "measure both here: convnextpose compare BASE_FOLDER CANDIDATE_FOLDER"
        raise NotPossible("refused: the two cannot be compared", "; ".join(found.reasons), do)
