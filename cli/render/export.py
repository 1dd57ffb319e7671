"""Output of ``export``: the origin of the weights, the result on one screen, and every table on request."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.console import err, out, table
from cli.render.checkpoint import count_notice, describe_alternative
from cli.render.screen import Screen, command, shorten
from cli.render.text import number, optional, safe, weights_mark
from export.checkpoint.released_files import name_rank
from export.checkpoint.weights_folder import WeightsFolder
from export.common.errors import BadInput
from export.common.interface import precision_of
from export.common.plain import group_names, listed, show_list
from export.model.config import Alternative, ModelConfig
from export.parity.budgets import PASS, WITHIN_ROUNDING, within_budget
from export.pipeline.layout import MANIFEST
from export.pipeline.manifest import Manifest
from export.pipeline.reports import ParityReport
from export.pipeline.request import ExportRequest
from export.runtime.processor import limit_note

if TYPE_CHECKING:
    from bench.harness.latency_table import LatencyTable


MOST_FAILURES = 2
"""Reasons of failed parity on the screen; ``--verbose`` has all."""


def print_weights(request: ExportRequest, folder: WeightsFolder | None) -> None:
    """Print the origin of the weights, before anything else.

    Args:
        request: the export.
        folder: the folder in which the checkpoint was searched for; None if the user named it.
    """
    config, checkpoint = request.config, request.checkpoint
    if request.origin == "checkpoint" and checkpoint is not None:
        source = f" (found in {escape(str(folder.path))}/{_by_content(config, checkpoint, folder)})" if folder else ""
        err.print(f"weights: {escape(str(checkpoint))}{source}")
        return
    place = "weights" if folder is None else str(folder.path)
    files_there = sorted(p.name for p in Path(place).glob("*") if p.name != "README.md")
    also = f"; other files there: {', '.join(files_there)}" if files_there else ""
    err.print(escape(f"no checkpoint of {config.name} in {place}/{also}"))
    meaning = "trained on drawn figures, not on people"
    if request.growth:
        meaning = f"grown from {request.growth.model}, {meaning}"
    if request.origin == "stand-in":
        meaning = "latency is meaningful, poses are not"
    err.print(f"[yellow bold]weights: {request.origin}[/] — {meaning}")


def _by_content(config: ModelConfig, checkpoint: Path, folder: WeightsFolder) -> str:
    """Return why a file was taken that does not have the model's released name."""
    rank = name_rank(folder.search.names(checkpoint), config.files)
    if rank is None:
        return f"; its content fits {escape(config.name)}"
    return f"; taken for a copy of {escape(config.files[rank.position])}" if rank.is_copy else ""


def print_result(
    manifest: Manifest,
    latency: "LatencyTable | None",
    folder: Path,
    *,
    recipe: Path | None,
    alternative: Alternative | None = None,
) -> None:
    """Print what was decided, what differs from the declaration, what may be shipped, and what to do next."""
    failed = _failed(manifest)
    proven = [report.variant for report in manifest.parity if report.outcome == "pass"]
    passed = [report.variant for report in manifest.parity if report.status == PASS]
    rounding = [variant for variant in proven if variant not in passed]
    parts = [f"[green]{', '.join(passed)}: parity passed[/]"] if passed else []
    parts += [f"[yellow]{', '.join(rounding)}: within rounding error[/]"] if rounding else []
    parts += [f"[red]{', '.join(dict.fromkeys(failed))}: not passed[/]"] if failed or not proven else []
    verdict = "; ".join(parts)
    images = next((report.images for report in manifest.parity), None)
    errors = [f"errors: over {images.count} images ({safe(images.source)})"] if images else []
    Screen(
        head=[f"[bold]{escape(manifest.model)}[/]: {verdict}{_mark(manifest)}"],
        columns=("ONNX file", "size", "mean error (mm)", "max (mm)", "parity"),
        rows=list(_files(manifest)),
        tail=[
            *_shippable(manifest, folder, proven),
            *_differences(manifest, alternative),
            *_open_points(manifest),
            *errors,
            *_latency(latency),
        ],
        box=count_notice(manifest.verdict, checkpoint=manifest.weights.path),
        details=f"{folder / MANIFEST}, or --verbose" + (f"; engines for a device: {recipe.name}" if recipe else ""),
        commands=list(_next(manifest, folder, proven)),
    ).show()


def _mark(manifest: Manifest) -> str:
    return weights_mark(manifest.weights.origin, manifest.weights.grown_from)


def needs_attention(manifest: Manifest) -> bool:
    """Return whether a precision failed, or the architecture is not the declared one."""
    return bool(_failed(manifest)) or not all(row.agrees for row in manifest.verdict)


def _failed(manifest: Manifest) -> list[str]:
    """Return the precisions without a proven file."""
    failed = [report.variant for report in manifest.parity if report.outcome != "pass"]
    return failed + [row.precision for row in manifest.not_run if row.kind == "onnx"]


def print_unchanged(manifest: Manifest, folder: Path) -> None:
    """Print one line on an export that was complete before."""
    precisions = ", ".join(report.variant for report in manifest.parity)
    out.print(
        f"[bold]{escape(manifest.model)}[/]: {escape(str(folder))} is up to date ({precisions}); --verbose shows it"
        f"{_mark(manifest)}"
    )


def _files(manifest: Manifest) -> Iterator[tuple[str, ...]]:
    """Yield a row for each ONNX file, with its error."""
    for report in manifest.parity:
        size = next((a.size_bytes for a in manifest.artifacts if a.path == report.artifact), 0)
        style = {PASS: "green", "fail": "red"}.get(report.status, "yellow")
        status = "rounding" if report.status == WITHIN_ROUNDING else report.outcome
        errors = (number(report.candidate.mean_mm), number(report.candidate.max_mm))
        yield escape(report.artifact), f"{size / 1e6:.1f} MB", *errors, f"[{style}]{status}[/]"


def _differences(manifest: Manifest, alternative: Alternative | None) -> Iterator[str]:
    """Yield what differs from the declaration."""
    wrong = [f"{row.field} {show_list(row.used)} ({row.source})" for row in manifest.verdict if not row.agrees]
    as_declared = f"architecture: {describe_alternative(manifest.model, alternative) if alternative else 'as declared'}"
    yield f"[yellow]not as declared:[/] {escape(', '.join(wrong))}" if wrong else as_declared
    if contradicted := sum(claim.outcome == "contradicted" for claim in manifest.claims):
        yield f"[yellow]claims:[/] the weights contradict {contradicted} published claims (`claims` lists them)"


def _open_points(manifest: Manifest) -> Iterator[str]:
    """Yield what failed or was not made, each reason once."""
    reports = [(r.variant, f"parity {r.outcome}: {shorten(r.reason)}") for r in manifest.parity if r.outcome != "pass"]
    missing = [(f"{r.precision} {r.kind}", f"{r.status}: {shorten(r.reason)}") for r in manifest.not_run]
    for reason, names in (*list(group_names(reports).items())[:MOST_FAILURES], *group_names(missing).items()):
        yield f"[yellow]{listed(names)}[/] {safe(reason)}"
    engines = [(a.precision, a.status) for a in manifest.artifacts if a.kind == "engine"]
    for status, names in group_names(engines).items():
        yield f"engines {listed(names)}: {safe(status)}"


def _latency(result: "LatencyTable | None") -> Iterator[str]:
    if result is None or (result.reason is None and not result.rows):
        return
    if result.reason:
        yield f"latency: [yellow]not known[/]: {safe(shorten(result.reason))}"
        return
    row = result.rows[-1]
    speed_up = ""
    if row.speed_up is not None:
        interval = escape(f"[{row.speed_up_low:.2f}, {row.speed_up_high:.2f}]")
        speed_up = f", {row.speed_up:.2f} {interval} times as fast as PyTorch"
    computes = "" if row.precision_used in (None, row.precision) else f" (computes {row.precision_used})"
    figures = f"{row.runtime} {row.precision}{computes} {optional(row.latency_ms)} ms{speed_up}"
    yield f"latency at a first look: {figures}; `bench` decides"


def _shippable(manifest: Manifest, folder: Path, proven: list[str]) -> Iterator[str]:
    """Yield what may be shipped."""
    if manifest.weights.origin != "checkpoint":
        yield f"may ship: nothing, these are {manifest.weights.origin} weights; export yours with --checkpoint FILE"
        return
    yield f"may ship: [green]{', '.join(v for v in proven if precision_of(v) != 'int8') or 'nothing'}[/]"
    for report in manifest.parity:
        if report.precision == "int8" and report.variant in proven:
            mean_mm = report.budget.limits.mean_mm
            status = report.status if mean_mm is None else within_budget(report.precision, mean_mm)
            yield f"[yellow]{report.variant}[/]: {status}; {_accuracy(folder, manifest, report)}"


def _accuracy(folder: Path, manifest: Manifest, report: ParityReport) -> str:
    """Return the accuracy loss of a file, or that it was never measured on images with annotations."""
    from bench.report.model_files import read_evaluations  # loads SciPy

    sha256 = next((a.sha256 for a in manifest.artifacts if a.path == report.artifact), None)
    try:
        rows = [
            row for evaluation in read_evaluations(folder).values() for row in evaluation.rows if row.sha256 == sha256
        ]
    except BadInput:  # a damaged evaluation is the report's to refuse
        rows = []
    losses = [row.accuracy_loss_mm.mean for row in rows if row.accuracy_loss_mm is not None]
    return f"accuracy loss {max(losses):+.2f} mm MPJPE" if losses else "accuracy not evaluated"


def _next(manifest: Manifest, folder: Path, proven: list[str]) -> Iterator[str]:
    """Yield the commands that follow."""
    traceable = [r.variant for r in manifest.parity if r.outcome == "fail" and r.variant != "fp32"]
    if traceable:
        yield command("parity", folder, "--trace", "--precision", ",".join(traceable))
    if proven:
        yield command("bench", folder)
        if manifest.weights.origin == "checkpoint":
            yield command("evaluate" if "int8" in proven else "bundle", folder)
        elif manifest.weights.origin == "demo":
            yield command("demo", folder, "--out", folder / "figure.png")
    elif manifest.weights.path is not None:
        yield command("inspect", manifest.weights.path)


def print_latency(result: "LatencyTable | None", manifest: Manifest) -> None:
    """Print the latency table, or why there are no figures."""
    if result is None:
        err.print("no latency table: no file of the export passed its parity")
        return
    out.print(f"\n[bold]Latency[/], one image, NumPy to NumPy (host_e2e){_mark(manifest)}")
    if result.reason:
        out.print(f"[yellow]not known[/]: {escape(result.reason)}; `bench` measures longer")
        return
    grid = table("runtime", "precision", "threads", "p50 (ms)", "speed-up vs PyTorch [95 % interval]")
    for row in result.rows:
        computes = "" if row.precision_used in (None, row.precision) else f" (computes {row.precision_used})"
        ratio = optional(row.speed_up)
        if row.speed_up is not None:
            ratio += f" \\[{row.speed_up_low:.2f}, {row.speed_up_high:.2f}]"
        grid.add_row(row.runtime, row.precision + computes, str(row.threads), optional(row.latency_ms), ratio)
    out.print(grid)
    limit = result.machine.get("cpu_limit")
    cores = f"{result.machine['cores']} cores{limit_note(None if limit is None else float(limit))}"
    out.print(f"{escape(str(result.machine['cpu']))}, {cores}; {result.protocol}")


def print_artifacts(manifest: Manifest, folder: Path, recipe: Path | None) -> None:
    """Print the artifacts in the folder, and those that could not be made."""
    grid = table("artifact", "precision", "size", "status")
    for artifact in manifest.artifacts:
        grid.add_row(artifact.path, artifact.precision, f"{artifact.size_bytes / 1e6:.1f} MB", escape(artifact.status))
    for skipped in manifest.not_run:
        grid.add_row(skipped.kind, skipped.precision, "–", f"[yellow]{skipped.status}:[/] {escape(skipped.reason)}")
    out.print(f"\n[bold]{escape(str(folder))}[/]{_mark(manifest)}")
    out.print(grid)
    out.print(f"all details: {escape(str(folder / MANIFEST))}")
    if recipe is not None:
        out.print(f"how to build and time engines on the device: {escape(str(recipe))}")
