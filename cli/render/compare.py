"""Output of ``compare``: a table, and the exit code of the outcome."""

from rich.markup import escape

from bench.gate.compare import Comparison
from cli.console import out, table
from export.common.errors import CheckFailed, Inconclusive, NotPossible

STYLE = {"PASS": "green", "IMPROVED": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "REFUSED": "yellow"}


def print_comparison(comparison: Comparison) -> None:
    """Print every cell with its interval, and the reasons of each."""
    grid = table("cell", "boundary", "candidate / baseline", "allowed", "control", "rounds", "outcome")
    for cell in comparison.cells:
        ratio, control = "–", "–"
        if cell.slowdown is not None:
            ratio = f"{cell.slowdown.median:.3f} \\[{cell.slowdown.low:.3f}, {cell.slowdown.high:.3f}]"
        if cell.control is not None:
            control = f"{cell.control.median:.3f} \\[{cell.control.low:.3f}, {cell.control.high:.3f}]"
        style = STYLE[cell.outcome]
        allowed = f"{1 + cell.allowed:.3f}"
        grid.add_row(cell.id, cell.boundary, ratio, allowed, control, str(cell.rounds), f"[{style}]{cell.outcome}[/]")
    out.print(f"\n[bold]Candidate against baseline[/], {comparison.mode}")
    if comparison.cells:
        out.print(grid)
    for cell in comparison.cells:
        out.print(f"{cell.outcome} {cell.id}: {escape('; '.join(cell.reasons))}", soft_wrap=True)
        for note in cell.notes:
            out.print(f"  {escape(note)}", soft_wrap=True)
    out.print(f"[{STYLE[comparison.outcome]}]{comparison.outcome}[/]")


def require_pass(comparison: Comparison) -> None:
    """Raise the failure of an outcome that is no pass.

    Raises:
        CheckFailed: FAIL.
        Inconclusive: INCONCLUSIVE.
        NotPossible: REFUSED.
    """
    reasons = "; ".join(f"{c.id}: {', '.join(c.reasons)}" for c in comparison.cells if c.outcome == comparison.outcome)
    if comparison.outcome == "FAIL":
        raise CheckFailed("the candidate is worse than the baseline", reasons, "do not merge it")
    if comparison.outcome == "INCONCLUSIVE":
        raise Inconclusive(
            "the data cannot decide whether the candidate is worse", reasons, "measure on a quieter machine"
        )
    if comparison.outcome == "REFUSED":
        advice = "measure both here: convnextpose compare BASE_FOLDER CANDIDATE_FOLDER"
        raise NotPossible("refused: the two cannot be compared", "; ".join(comparison.reasons), advice)
