"""Output of ``parity``: the errors of each artifact, and the trace of its layers."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape

from cli.console import out, table
from cli.render.checkpoint import STATISTICS_STYLE
from cli.render.text import number, outcome, safe, weights_mark
from export.pipeline.manifest import Manifest
from export.pipeline.reports import ErrorReport, ParityReport, StatisticsReport
from export.plan.precision_plan import TOO_MANY


def print_parity(manifest: Manifest) -> None:
    """Print the errors of each artifact, beside those of its reference."""
    if manifest.parity:
        grid = table("artifact", "runtime", "status", "grade", *ERROR_COLUMNS)
        for report in manifest.parity:
            for run in report.runs:
                worst = run.batches[str(run.worst_batch)]
                grid.add_row(report.artifact, run.runner, outcome(run.status), worst.grade, *_errors(worst.candidate))
            grid.add_row(report.budget.reference, "PyTorch", "–", "–", *_errors(report.reference))
        mark = weights_mark(manifest.weights.origin, manifest.weights.grown_from)
        out.print(f"\n[bold]Parity with the reference model in FP64[/]{mark}")
        out.print(grid)
    for report in manifest.parity:
        _print_notes(report)
    for line in _plans(manifest):
        out.print(escape(line))
    for ranges in manifest.ranges:
        name, value = next(iter(ranges.activations.items()))
        largest = f"{number(value)} in {escape(name)}"
        out.print(f"{ranges.precision}: largest value {largest}; {ranges.limit:.4g} is the limit")
    for report in manifest.parity[:1]:  # images and ground truth are the same for all
        _print_unknown_images(report.images.statistics)
        images, joints = number(report.signal.over_images_mm), number(report.signal.over_joints_mm)
        out.print(f"signal: joints spread {images} mm over images, {joints} mm over joints")


ERROR_COLUMNS = ("mean (mm)", "p99 (mm)", "max (mm)", "max (bins)", "max (px)")


def _errors(error: ErrorReport) -> Iterator[str]:
    return map(number, (error.mean_mm, error.p99_mm, error.max_mm, error.max_bins, error.max_pixels))


def _print_notes(report: ParityReport) -> None:
    """Print the reason of an outcome, the runs behind it, and those that were skipped."""
    runtimes = " and by ".join(run.runtime for run in report.runs)
    out.print(
        f"{report.precision}: {escape(report.reason)}; {report.images.count} {report.images.source}, "
        f"batches {', '.join(map(str, report.batches))}, run by {escape(runtimes)}"
    )
    for skipped in report.not_run:
        out.print(f"{report.precision}: not run by {skipped.runner}: {escape(skipped.reason)}")
    if report.budget.grade is None:
        out.print(f"[yellow]{report.precision}: no error budget:[/] {escape(report.budget.reason)}")


def _print_unknown_images(statistics: StatisticsReport) -> None:
    """Print why the network does not know the parity images, or why that cannot be checked."""
    if statistics.verdict != "known":
        style, reason = STATISTICS_STYLE[statistics.verdict], safe(f"BatchNorm statistics: {statistics.reason}")
        out.print(f"[{style}]images {statistics.verdict}[/]: {reason}")


def _plans(manifest: Manifest) -> Iterator[str]:
    """Yield one line for each precision plan: its share of each precision, and the result of its search."""
    plans = {a.precision: a.details["plan"] for a in manifest.artifacts if a.kind == "onnx" and "plan" in a.details}
    for precision, plan in plans.items():
        result = plan["search"][0] if plan["aim"] is None and plan["search"] else f"planned for grade {plan['aim']}"
        missed = [line for line in plan["search"] if line.endswith(TOO_MANY)]
        seconds = f", in {plan['search_seconds']:.1f} s" if plan["search_seconds"] is not None else ""
        yield f"{precision}: {plan['summary']}; " + "; ".join([result + seconds, *missed])


def print_trace(record: Mapping[str, Any]) -> None:
    """Print the error of every convolution against FP32, and the first that exceeds rounding."""
    grid = table("layer", "relative error", "largest error", "largest value")
    for layer in record["layers"]:
        mark = "[red]" if layer["layer"] == record["first_departure"] else ""
        numbers = (number(layer[name]) for name in ("relative_error", "largest_error", "largest_value"))
        grid.add_row(mark + escape(layer["layer"]), *numbers)
    out.print(f"\n[bold]{record['precision']} compared with fp32[/], {record['images']} images, {record['runtime']}")
    out.print(grid)
    limit = f"{record['expected_relative_error']:g}"
    if record["first_departure"]:
        out.print(f"first layer with a relative error above {limit}: [red]{escape(record['first_departure'])}[/]")
    else:
        out.print(f"no layer has a relative error above {limit}: rounding explains the error")
    jump = record["largest_jump"]
    before, after = (number(jump[name]) for name in ("before", "after"))
    out.print(f"largest increase in {escape(jump['layer'])}: from {before} to {after}")
