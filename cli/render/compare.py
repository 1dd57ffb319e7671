"""Output of ``compare``: the decision, the cells, and the exit code of the outcome."""

from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape

from bench.gate.decision import LOOKS, Cell, Comparison
from bench.report.commands import LONGER
from bench.report.rows import is_known
from bench.report.sections.export import gate
from bench.stats.stopping import FIRST_LOOK
from cli.console import out
from cli.render.screen import Screen, command, shorten
from cli.render.text import safe
from cli.render.view import print_view
from export.common.errors import CheckFailed, Inconclusive
from export.common.plain import group_names, listed

STYLE = {"PASS": "green", "IMPROVED": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


DECISIONS = {
    "PASS": "the candidate is not slower",
    "IMPROVED": "the candidate is faster",
    "FAIL": "the candidate is worse; do not merge it",
    "INCONCLUSIVE": "the data cannot decide",
}


def print_decision(comparison: Comparison, base: Path, candidate: Path, budget_s: float, out_file: Path | None) -> None:
    """Print the outcome, each cell with its interval, and what to do next."""
    style = STYLE[comparison.outcome]
    reasons = group_names((cell.id, reason) for cell in comparison.cells for reason in (*cell.reasons, *cell.notes))
    Screen(
        head=[f"[bold {style}]{comparison.outcome}[/]: {DECISIONS[comparison.outcome]}"],
        columns=("cell", "candidate / baseline", "allowed", "rounds", "outcome"),
        rows=[_cells(cell) for cell in comparison.cells],
        tail=[f"{listed(names, 3)}: {safe(shorten(reason))}" for reason, names in reasons.items()],
        details=f"{out_file}, or --verbose" if out_file else "--verbose; --out FILE.json writes everything",
        commands=list(_next(comparison, base, candidate, budget_s)),
    ).show()


def _cells(cell: Cell) -> tuple[str, ...]:
    ratio, slowdown = "–", cell.slowdown
    if slowdown is not None:
        interval = escape(f"[{slowdown.low:.3f}, {slowdown.high:.3f}]")
        ratio = f"{slowdown.median:.3f} {interval}" if is_known(slowdown.low, slowdown.high) else "not known"
    return cell.id, ratio, f"{1 + cell.allowed:.3f}", str(cell.rounds), f"[{STYLE[cell.outcome]}]{cell.outcome}[/]"


def _next(comparison: Comparison, base: Path, candidate: Path, budget_s: float) -> Iterator[str]:
    if comparison.outcome == "INCONCLUSIVE":
        yield command("compare", base, candidate, f"--budget={LONGER * budget_s:g}")
    elif comparison.outcome in ("FAIL", "IMPROVED"):
        yield command("parity", candidate)
        yield command("bench", candidate, "--profile")


def print_comparison(comparison: Comparison) -> None:
    """Print every cell with its interval, and all reasons and notes of each."""
    out.print()
    for view in gate(comparison).tables:
        print_view(view)
    for cell in comparison.cells:
        for note in cell.notes:
            out.print(f"{cell.id}: {escape(note)}")


def require_pass(comparison: Comparison) -> None:
    """Raise the failure of an outcome that is no pass.

    Raises:
        CheckFailed: FAIL.
        Inconclusive: INCONCLUSIVE.
    """
    reasons = "; ".join(f"{c.id}: {', '.join(c.reasons)}" for c in comparison.cells if c.outcome == comparison.outcome)
    if comparison.outcome == "FAIL":
        raise CheckFailed("the candidate is worse than the baseline", reasons, "do not merge it")
    if comparison.outcome == "INCONCLUSIVE":
        problem = "the data cannot decide whether the candidate is worse"
        raise Inconclusive(problem, reasons, _advice(comparison))


def _advice(comparison: Comparison) -> str:
    """Return what helps an inconclusive comparison: more time if it ended before the last look."""
    rounds = [cell.rounds for cell in comparison.cells if cell.outcome == "INCONCLUSIVE" and cell.rounds]
    if not rounds or min(rounds) >= LOOKS[-1]:
        return "measure on a quieter machine"
    return "raise --budget" if min(rounds) < FIRST_LOOK else "raise --budget, or measure on a quieter machine"
