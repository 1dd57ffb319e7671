"""Output of ``evaluate``: the accuracy of each artifact."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from cli.console import err, out, table
from cli.render.text import number, optional
from export.common.interface import variant_of

Row = Mapping[str, Any]


def print_dataset_notes(notes: Sequence[str], done: int, total: int, *, restarted: bool) -> None:
    """Print notes on the dataset, and the sample at which an interrupted run continues."""
    for text in notes:
        err.print(f"note: {escape(text)}", soft_wrap=True)
    if restarted:
        err.print("note: an earlier run is damaged, or had other files, options or code: starting again")
    if done:
        err.print(f"continuing after {done} of {total} samples of an earlier run")


def print_accuracy(record: Mapping[str, Any], report: Path) -> None:
    """Print the errors of each artifact, per joint and per group."""
    rows, data, origin = record["contenders"], record["dataset"], record["weights"]["origin"]
    mark = f"  [yellow]weights: {origin}[/]" if origin != "checkpoint" else ""
    grid = table(
        *("runtime", "precision", "MPJPE (mm)", "PA-MPJPE (mm)", "error (px)"),
        *("accuracy loss (mm MPJPE) [95 %]", "error mean, max (mm)"),
    )
    for row in rows:
        loss, error = row["price_mm"], row["drift_mm"]
        interval = optional(loss and loss["mean"], "+.3f")
        if loss and loss["low"] is not None:
            interval += f" \\[{loss['low']:+.3f}, {loss['high']:+.3f}]"
        errors = "–" if error["mean"] is None else f"{number(error['mean'])}, {number(error['max'])}"
        accuracy = (optional(row[name]) for name in ("mpjpe_mm", "pa_mpjpe_mm", "error_px"))
        grid.add_row(row["runtime"], _variant(row), *accuracy, interval, errors)
    for claim in record["published"]:
        figures = (claim.get(field, "–") for field in ("mpjpe_mm", "pa_mpjpe_mm"))
        grid.add_row(f"published ({claim['source']})", "–", *figures, "–", "–", "–")
    flip = ", averaged over mirrored images" if record["flip"] else ""
    out.print(f"\n[bold]Accuracy[/] of {record['model']}, {data['samples']} samples of {data['name']}{flip}{mark}")
    out.print(grid)
    _print_parts("joint", record["counted_joints"], rows, lambda row, name: _joint_error(record, row, name))
    groups = sorted({group for row in rows for group in row["groups"]})
    _print_parts("action", groups, rows, lambda row, group: row["groups"][group]["mpjpe_mm"])
    busy = sum(row["seconds"] for row in rows) / record["seconds"]
    out.print(f"{record['samples_per_s']:.1f} samples a second; {busy:.0%} of the time in the models")
    out.print(f"all details: {escape(str(report))}", soft_wrap=True)


def _print_parts(
    title: str, parts: Sequence[str], rows: Sequence[Row], error: Callable[[Row, str], float | None]
) -> None:
    if parts:
        grid = table(f"MPJPE (mm) by {title}", *(f"{row['runtime']} {_variant(row)}" for row in rows))
        for part in parts:
            grid.add_row(escape(part), *(optional(error(row, part)) for row in rows))
        out.print(grid)


def _variant(row: Row) -> str:
    return variant_of(row["precision"], takes_pixels=row["takes_pixels"])


def _joint_error(record: Mapping[str, Any], row: Row, name: str) -> float | None:
    errors = row["joints"]["mpjpe_mm"]
    return errors[record["joint_names"].index(name)] if errors else None
