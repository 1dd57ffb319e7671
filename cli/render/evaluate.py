"""Output of ``evaluate``: the accuracy of each artifact."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.markup import escape

from bench.accuracy.record import Evaluated, Evaluation
from cli.console import err, out, table
from cli.render.text import number, optional

MPJPE, PIXELS = "MPJPE (mm)", "error (px)"


def print_dataset_notes(notes: Sequence[str], done: int, total: int, *, restarted: bool) -> None:
    """Print notes on the dataset, and the sample at which an interrupted run continues."""
    for text in notes:
        err.print(f"note: {escape(text)}", soft_wrap=True)
    if restarted:
        err.print("note: an earlier run is damaged, or had other files, options or code: starting again")
    if done:
        err.print(f"continuing after {done} of {total} samples of an earlier run")


def print_accuracy(evaluation: Evaluation, report: Path) -> None:
    """Print the errors of each artifact, per joint and per group: in mm, or in pixels for annotations without mm."""
    rows, data, origin = evaluation.rows, evaluation.dataset, evaluation.weights.origin
    mark = f"  [yellow]weights: {origin}[/]" if origin != "checkpoint" else ""
    grid = table(
        *("runtime", "precision", MPJPE, "PA-MPJPE (mm)", PIXELS),
        *("accuracy loss (mm MPJPE) [95 %]", "error mean, max (mm)"),
    )
    for row in rows:
        loss, error = row.accuracy_loss_mm, row.error_mm
        interval = optional(loss.mean if loss else None, "+.3f")
        if loss and loss.low is not None:
            interval += f" \\[{loss.low:+.3f}, {loss.high:+.3f}]"
        errors = "–" if error.mean is None else f"{number(error.mean)}, {number(error.max)}"
        accuracy = (optional(value) for value in (row.mpjpe_mm, row.pa_mpjpe_mm, row.error_px))
        grid.add_row(row.runtime, row.variant, *accuracy, interval, errors)
    for claim in evaluation.published:
        figures = (claim.get(field, "–") for field in ("mpjpe_mm", "pa_mpjpe_mm"))
        grid.add_row(f"published ({claim['source']})", "–", *figures, "–", "–", "–")
    flip = ", averaged over mirrored images" if evaluation.flip else ""
    title = f"{escape(evaluation.model)}, {data.samples} samples of {escape(data.name)}"
    out.print(f"\n[bold]Accuracy[/] of {title}{flip}{mark}")
    out.print(grid)
    _print_parts(evaluation)
    busy = sum(row.seconds for row in rows) / evaluation.seconds
    out.print(f"{evaluation.samples_per_s:.1f} samples a second; {busy:.0%} of the time in the models")
    out.print(f"all details: {escape(str(report))}", soft_wrap=True)


def _print_parts(evaluation: Evaluation) -> None:
    """Print errors by joint and by action."""
    in_mm = any(row.mpjpe_mm is not None for row in evaluation.rows)
    title, measure = (MPJPE, "mpjpe_mm") if in_mm else (PIXELS, "error_px")
    joints = {row.name: evaluation.joint_errors(row, measure) for row in evaluation.rows}
    _print_table(f"{title} by joint", evaluation, evaluation.counted_joints, lambda row, j: joints[row.name].get(j))
    groups = sorted({group for row in evaluation.rows for group in row.groups})
    _print_table(f"{title} by action", evaluation, groups, lambda row, group: getattr(row.groups[group], measure))


def _print_table(
    title: str, evaluation: Evaluation, parts: Sequence[str], error: Callable[[Evaluated, str], float | None]
) -> None:
    if parts:
        grid = table(title, *(row.label for row in evaluation.rows))
        for part in parts:
            grid.add_row(escape(part), *(optional(error(row, part)) for row in evaluation.rows))
        out.print(grid)
