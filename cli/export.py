"""``convnextpose export``: export models, from checkpoint to engines."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.options import (
    Batches,
    EngineRuntime,
    HardwareCompatible,
    OptimizationLevel,
    Settings,
    Strict,
    Targets,
    Tf32,
    Verbose,
    VersionCompatible,
    WeightsKey,
    WorkspaceMib,
    lower,
)

if TYPE_CHECKING:
    from export.checkpoint.weights_folder import WeightsFolder
    from export.pipeline.request import ExportRequest


def command(
    models: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[,MODEL…]", help="XS, S, M, L, XS-atto, or the path of your own configuration (.yaml)."
        ),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="In any container. By default the file in --weights that fits; without one, demo or stand-in weights."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of checkpoints, chosen by their content; by default weights/."),
    ] = None,
    weights_key: WeightsKey = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="fp32,fp16,bf16,int8", callback=lower, help="Precisions; each has an ONNX file and an engine."
        ),
    ] = "fp32",
    out: Annotated[Path, typer.Option(help="Results go to OUT/MODEL.")] = Path("build"),
    strict: Strict = False,
    settings: Settings = None,
    engine_runtime: EngineRuntime = "auto",
    batches: Batches = "1,1,8",
    targets: Targets = None,
    workspace_mib: WorkspaceMib = 1024,
    optimization_level: OptimizationLevel = 3,
    tf32: Tf32 = False,
    hardware_compatible: HardwareCompatible = False,
    version_compatible: VersionCompatible = False,
    with_preprocess: Annotated[
        bool, typer.Option("--with-preprocess", help="Also write graphs that take uint8 pixels and normalise them.")
    ] = False,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Crops of people for parity; by default drawn figures.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Crops of people for calibration (not fp32); by default drawn figures."),
    ] = None,
    plans: Annotated[
        list[Path] | None,
        typer.Option("--plan", metavar="FILE", help="Use the precision plan of an earlier export: its plan/int8.json."),
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(metavar="near|usable", help="Grade of error that all but fp32 must reach."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--why", help="List the steps that would run, with the reason.")] = False,
    verbose: Verbose = False,
) -> None:
    """Make checkpoint → verdict → ONNX → parity → engine → latency table in OUT/MODEL, of each model."""
    from cli.console import err, raise_all
    from export.checkpoint.weights_folder import WeightsFolder
    from export.common.errors import BadInput, Failure, Inconclusive
    from export.engine.choice import choose_runtime, complete_plan
    from export.engine.plan import EnginePlan
    from export.model.config import load_config
    from export.pipeline.options import parse_overrides, parse_plan, parse_plans
    from export.pipeline.request import ExportRequest, choose_checkpoint, parse_precisions, require_plain_paths

    paths = (checkpoint, weights, images, calibration, *(plans or ()))
    require_plain_paths(out, *(path for path in paths if path))
    configs = [load_config(model) for model in split_models(models)]
    if checkpoint is not None and weights is not None:
        raise BadInput("--checkpoint and --weights are given", f"{checkpoint}, {weights}", "leave one out")
    if checkpoint is not None and len(configs) > 1:
        raise BadInput("--checkpoint is for one model", models, "name one model, or a folder with --weights")
    overrides, precisions = parse_overrides(settings or []), parse_precisions(precision)
    options = EnginePlan(
        runtime=engine_runtime,
        optimization_level=optimization_level,
        tf32=tf32,
        hardware_compatible=hardware_compatible,
        version_compatible=version_compatible,
    )
    plan = parse_plan(options, batches, targets, workspace_mib)
    complete_plan(plan, choose_runtime(plan.runtime))  # refuse it now, not after minutes
    folder = WeightsFolder(weights or Path("weights"), required=weights is not None)
    requests = [
        ExportRequest(
            config,
            choose_checkpoint(config, checkpoint, folder),
            overrides,
            precisions,
            strict,
            plan,
            with_preprocess=with_preprocess,
            parity_images=images,
            calibration=calibration,
            plans=parse_plans(plans or []),
            weights_key=weights_key,
            require=require,
        )
        for config in configs
    ]
    if checkpoint is None and folder.search.notice:
        err.print(f"[yellow bold]notice:[/] {escape(folder.search.notice)}")
    failures: list[Failure] = []
    for request in requests:
        try:
            export_model(request, None if checkpoint else folder, out, dry_run=dry_run, verbose=verbose)
        except Failure as failure:
            failures.append(failure)
    raise_all(sorted(failures, key=lambda failure: failure.exit_code != Inconclusive.exit_code))


def split_models(text: str) -> list[str]:
    """Split ``S,M`` into models, each once; the path of a configuration may contain a comma."""
    names = [text] if os.path.isfile(text) else text.split(",")
    return list(dict.fromkeys(names))


def export_model(
    request: "ExportRequest", folder: "WeightsFolder | None", out: Path, *, dry_run: bool, verbose: bool
) -> None:
    """Export one model and print the result.

    Raises:
        Failure: the export failed, or a check of an artifact did.
    """
    from bench.harness.latency_table import latency_table
    from cli.console import ConsoleObserver
    from cli.render.checkpoint import print_contradicted_claims, print_other_networks, print_verdict
    from cli.render.export import (
        needs_attention,
        print_artifacts,
        print_latency,
        print_result,
        print_unchanged,
        print_weights,
    )
    from cli.render.parity import print_parity
    from export.checkpoint.records import used_alternative
    from export.pipeline.run import run_export

    config = request.config
    print_weights(request, folder)
    with ConsoleObserver() as observer:
        export = run_export(request, out / config.name, observer, dry_run=dry_run)
        observer.stop()
        if (manifest := export.manifest) is not None:
            print_other_networks(manifest.weights.location, manifest.weights.other_networks)
        if manifest is not None and verbose:
            print_verdict(manifest.verdict, manifest.nearest_models, manifest.counts)
            print_contradicted_claims(manifest.claims)
            print_parity(manifest)
        is_unchanged = not observer.ran_steps  # a latency table alone, which a busy machine repeats, is no change
        latency = latency_table(export, observer)
    if manifest is None:
        return
    if verbose:
        print_latency(latency, manifest)
        print_artifacts(manifest, export.folder, export.recipe)
    if not is_unchanged or verbose or needs_attention(manifest):
        alternative = used_alternative(config, manifest.nearest_models)
        print_result(manifest, latency, export.folder, recipe=export.recipe, alternative=alternative)
    else:
        print_unchanged(manifest, export.folder)
    export.require_success()
