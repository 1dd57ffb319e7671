"""Output of ``evaluate``: the accuracy of each artifact."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.markup import escape

from bench.accuracy.record import AccuracyLoss, Evaluated, Evaluation
from cli.console import err, out, table
from cli.render.screen import Screen, command
from cli.render.text import optional, weights_mark
from export.common.plain import listed
from export.parity.budgets import GRADES, REQUIRED_GRADE

MPJPE, PIXELS = "MPJPE (mm)", "error (px)"


def print_dataset_notes(notes: Sequence[str], done: int, total: int, *, restarted: bool) -> None:
    """Print notes on the dataset, and the sample at which an interrupted run continues."""
    for text in notes:
        err.print(f"note: {escape(text)}")
    if restarted:
        err.print("note: an earlier run is damaged, or had other files, options or code: starting again")
    if done:
        err.print(f"continuing after {done} of {total} samples of an earlier run")


def print_evaluation(evaluation: Evaluation, model: Path, report: Path) -> None:
    """Print the accuracy of the reference, the accuracy loss of each file, and whether it is within its budget."""
    rows, data, origin = evaluation.rows, evaluation.dataset, evaluation.weights.origin
    mark, in_mm = weights_mark(origin), any(row.mpjpe_mm is not None for row in rows)
    bundle = [command("bundle", model)] if origin == "checkpoint" else []
    Screen(
        head=[f"[bold]{escape(evaluation.model)}[/] on {data.samples} samples of {escape(data.name)}{mark}"],
        columns=("runtime, precision", MPJPE if in_mm else PIXELS, "PA-MPJPE (mm)", "accuracy loss (mm) [95 %]"),
        rows=[
            (
                escape(row.label),
                optional(row.mpjpe_mm if in_mm else row.error_px),
                optional(row.pa_mpjpe_mm),
                _loss(row.accuracy_loss_mm),
            )
            for row in rows
        ],
        tail=list(_decisions(evaluation)),
        details=f"{report}, or --verbose",
        commands=[command("report", model), *bundle],
    ).show()


def _decisions(evaluation: Evaluation) -> Iterator[str]:
    """Yield which files keep their budget of accuracy loss, and the published figures."""
    within, beyond, limits = list[str](), list[str](), dict[str, float]()
    for row in evaluation.rows:
        limit_mm = GRADES[REQUIRED_GRADE[row.precision]].mean_mm
        if row.accuracy_loss_mm is not None:
            limits |= {row.precision: limit_mm} if limit_mm else {}
            fits = limit_mm is None or row.accuracy_loss_mm.mean <= limit_mm
            (within if fits else beyond).append(row.label + (f" (≤ {limit_mm:g} mm)" if limit_mm else ""))
    if within:
        budgets = ", ".join(f"{precision} ≤ {limit_mm:g} mm" for precision, limit_mm in limits.items())
        rows = listed(within) if beyond else "every row" + (f" ({budgets})" if budgets else "")
        yield f"accuracy loss [green]within its budget[/]: {escape(rows)}"
    if beyond:
        yield f"accuracy loss [red]beyond its budget[/]: {escape(listed(beyond))}"
    for claim in evaluation.published:
        measures = {name: figure for name, figure in claim.items() if name != "source"}
        figures = ", ".join(f"{name.removesuffix('_mm').upper()} {figure} mm" for name, figure in measures.items())
        yield f"published ({escape(claim['source'])}): {figures}"
    if evaluation.weights.origin == "demo":
        yield "demo weights were trained on drawn figures: these figures say nothing about people"


def _loss(loss: AccuracyLoss | None) -> str:
    """Return the accuracy loss with its interval."""
    if loss is None:
        return "–"
    interval = "" if loss.low is None else escape(f" [{loss.low:+.3f}, {loss.high:+.3f}]")
    return f"{loss.mean:+.3f}{interval}"


def print_parts(evaluation: Evaluation) -> None:
    """Print errors by joint and by action: in mm, or in pixels for annotations without mm."""
    in_mm = any(row.mpjpe_mm is not None for row in evaluation.rows)
    title, measure = (MPJPE, "mpjpe_mm") if in_mm else (PIXELS, "error_px")
    joints = {row.name: evaluation.joint_errors(row, measure) for row in evaluation.rows}
    _print_table(f"{title} by joint", evaluation, evaluation.counted_joints, lambda row, j: joints[row.name].get(j))
    groups = sorted({group for row in evaluation.rows for group in row.groups})
    _print_table(f"{title} by action", evaluation, groups, lambda row, group: getattr(row.groups[group], measure))
    busy = sum(row.seconds for row in evaluation.rows) / evaluation.seconds
    out.print(f"{evaluation.samples_per_s:.1f} samples a second; {busy:.0%} of the time in the models")


def _print_table(
    title: str, evaluation: Evaluation, parts: Sequence[str], error: Callable[[Evaluated, str], float | None]
) -> None:
    if parts:
        grid = table(title, *(row.label for row in evaluation.rows))
        for part in parts:
            grid.add_row(escape(part), *(optional(error(row, part)) for row in evaluation.rows))
        out.print(grid)
