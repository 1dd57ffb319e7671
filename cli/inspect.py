"""``convnextpose inspect``: the architecture of a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, Settings, Strict, WeightsKey


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A file or an unpacked folder.")],
    model: Annotated[
        str | None, typer.Option(help="The declared model to compare with; by default the one that fits.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Crops of people, to compare with the training's images and to find the upsampling count.",
        ),
    ] = None,
    weights_key: WeightsKey = None,
    settings: Settings = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Show every architecture field with its evidence, exact counts, and the claims that the checkpoint contradicts."""
    import json

    from cli.console import ConsoleObserver
    from cli.render.checkpoint import print_inspection, print_problems
    from export.checkpoint.evidence import Contradiction
    from export.checkpoint.inspection import inspect_checkpoint
    from export.pipeline.options import (
        parse_overrides,
        require_agreement,
        require_declared_count,
        require_images_agree,
    )

    overrides = parse_overrides(settings or [])
    observer = ConsoleObserver()
    try:
        progress = observer.listener("inspect")
        inspection = inspect_checkpoint(checkpoint, model, overrides, images, progress, weights_key)
    except Contradiction as contradiction:
        if as_json:
            print(json.dumps(contradiction.as_json(), indent=2))
        else:
            print_problems(contradiction.problems)
        raise
    finally:
        observer.stop()
    if as_json:
        print(json.dumps(inspection.as_json(), indent=2))
    else:
        print_inspection(inspection)
    if strict:
        require_agreement(inspection.model, inspection.record)
        require_declared_count(inspection)
        require_images_agree(inspection.images)
