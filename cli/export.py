"""``convnextpose export``: the main job."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Settings, Strict


def command(
    model: Annotated[str, typer.Argument(help="XS, S, M, L, XS-atto, or the path of your own configuration (.yaml).")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="In any container. Without it weights/ is searched; failing that, stand-in weights are made."
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="Precisions, separated by commas. This version writes fp32.")] = "fp32",
    out: Annotated[Path, typer.Option(help="Results go to OUT/MODEL.")] = Path("build"),
    strict: Strict = False,
    settings: Settings = None,
    why: Annotated[bool, typer.Option("--why", help="Only say what would be done, and why.")] = False,
) -> None:
    """Checkpoint → verdict → ONNX → parity → engine → first latency table, in OUT/MODEL."""
    from bench.first_table import first_table_step
    from cli import render
    from cli.console import ConsoleNarrator
    from export.config import load_config
    from export.manifest import write_manifest
    from export.options import parse_overrides
    from export.pipeline import export_model, require_parity
    from export.request import Request, find_checkpoint, parse_precisions
    from export.steps import Folder
    from export.summary import manifest_of

    config = load_config(model)
    overrides, precisions = parse_overrides(settings or []), parse_precisions(precision)
    request = Request(config, checkpoint or find_checkpoint(config, Path("weights")), overrides, precisions, strict)
    narrator = ConsoleNarrator()
    render.weights_line(request, asked=checkpoint is not None)
    try:
        folder = Folder(out / config.name, narrator, only_ask=why)
        with folder.held():
            exported = export_model(folder, request)
            latency = None
            if not exported.failed:
                latency = first_table_step(folder, request, exported.weights, exported.onnx["fp32"], "fp32")
            if why:
                return
            manifest = manifest_of(folder, request, exported)
            path = write_manifest(folder.path, manifest)
    finally:
        narrator.stop()
    render.verdict(manifest.verdict, manifest.nearest_models, manifest.counts)
    render.parity(manifest)
    if latency is not None:
        render.latency(latency.result, manifest)
    render.artifacts(manifest, path)
    require_parity(exported)
