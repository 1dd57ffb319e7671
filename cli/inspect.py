"""``convnextpose inspect``: the architecture of a checkpoint, or of every checkpoint in a folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson, Settings, Strict, WeightsKey

if TYPE_CHECKING:
    from export.checkpoint.folder_search import FolderSearch


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A file, an unpacked folder, or a folder of checkpoints.")],
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
    if os.path.isdir(checkpoint):
        from export.checkpoint.folder_search import is_one_checkpoint, search_folder

        search = search_folder(checkpoint)
        if not is_one_checkpoint(search):
            options = {"--model": model, "--images": images, "--weights-key": weights_key, "--set": settings}
            _inspect_folder(search, [name for name, value in options.items() if value], strict, as_json)
            return
    try:
        with ConsoleObserver() as observer:
            progress = observer.listener("inspect")
            inspection = inspect_checkpoint(checkpoint, model, overrides, images, progress, weights_key)
    except Contradiction as contradiction:
        if as_json:
            print(json.dumps(contradiction.as_json(), indent=2))
        else:
            print_problems(contradiction.problems)
        raise
    if as_json:
        print(json.dumps(inspection.as_json(), indent=2))
    else:
        print_inspection(inspection)
    if strict:
        require_agreement(inspection.model, inspection.record.verdict, inspection.record.nearest_models)
        require_declared_count(inspection)
        require_images_agree(inspection.images)


def _inspect_folder(search: "FolderSearch", options: Sequence[str], strict: bool, as_json: bool) -> None:
    """Show every checkpoint that a search has found.

    Args:
        search: the folder.
        options: options in use that are for one checkpoint.
        strict: fail if a checkpoint equals no declared model, or has the name of another one.
        as_json: print JSON.
    """
    from cli.console import ConsoleObserver
    from cli.render.folder import print_folder
    from export.checkpoint.folder_inspection import inspect_folder, require_checkpoints, require_known_checkpoints
    from export.common.errors import BadInput

    if options:
        value = f"{search.folder} holds several files"
        raise BadInput(f"{options[0]} is for one checkpoint", value, "name one, or leave the option out")
    with ConsoleObserver() as observer:
        inspection = inspect_folder(search, observer.listener("inspect"))
    if as_json:
        print(inspection.model_dump_json(indent=2))
    else:
        print_folder(inspection, search.notice)
    require_checkpoints(inspection)
    if strict:
        require_known_checkpoints(inspection)
