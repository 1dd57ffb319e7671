"""Output of ``export``: the origin of the weights, the latency table, and the artifacts."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.console import err, out, table
from cli.render.text import optional, weights_mark
from export.checkpoint.released_files import has_released_name
from export.pipeline.layout import MANIFEST
from export.pipeline.manifest import Manifest
from export.pipeline.request import ExportRequest
from export.runtime.processor import limit_note

if TYPE_CHECKING:
    from bench.harness.latency_table import LatencyTable


def print_weights(request: ExportRequest, *, from_user: bool) -> None:
    """Print the origin of the weights, before anything else.

    Args:
        request: the export.
        from_user: True if the user named the checkpoint.
    """
    if request.origin == "checkpoint" and request.checkpoint is not None:
        source = "" if from_user else " (found in weights/)"
        if not from_user and not has_released_name(request.checkpoint, request.config.files):
            source = f" (found in weights/; taken for a copy of {request.config.files[0]})"
        err.print(f"weights: {escape(str(request.checkpoint))}{source}", soft_wrap=True)
        return
    files = ", ".join(request.config.files) or "the configuration names no file"
    files_there = sorted(p.name for p in Path("weights").glob("*") if p.name != "README.md")
    also = f"; other files there: {', '.join(files_there)}" if files_there else ""
    err.print(escape(f"no checkpoint in weights/ (searched for: {files}{also})"), soft_wrap=True)
    meaning = "trained on drawn figures: its poses are real, but say nothing about people"
    if request.growth:
        meaning = f"grown from the {request.growth.model} demo checkpoint, {meaning}"
    if request.origin == "stand-in":
        meaning = "latency is meaningful, poses are not"
    err.print(f"[yellow bold]weights: {request.origin}[/] — {meaning}")


def print_latency(result: "LatencyTable | None", manifest: Manifest) -> None:
    """Print the latency table, or why there are no figures."""
    if result is None:
        err.print("no latency table: no file of the export passed its parity")
        return
    out.print(f"\n[bold]Latency[/], one image, NumPy to NumPy (host_e2e){weights_mark(manifest)}")
    if result.reason:
        out.print(f"[yellow]not known[/]: {escape(result.reason)}; `convnextpose bench` measures longer")
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
    out.print(f"\n[bold]{escape(str(folder))}[/]{weights_mark(manifest)}")
    out.print(grid)
    out.print(f"all details: {escape(str(folder / MANIFEST))}")
    if recipe is not None:
        out.print(f"how to build and time engines on the device: {escape(str(recipe))}")
