"""``convnextpose inspect``: what a checkpoint really is."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, Settings, Strict


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A file or an unpacked folder.")],
    model: Annotated[str | None, typer.Option(help="The declaration to compare with; left out, it is found.")] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Crops of people, to check against the training and to find the upsampling count."
        ),
    ] = None,
    settings: Settings = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Every architecture field with the tensor that proves it, exact counts, and the claims it contradicts."""
    import json

    from rich.markup import escape

    from cli.console import ConsoleObserver, out
    from cli.render import tables as render
    from cli.render.images import image_statistics
    from export.checkpoint.evidence import Contradiction
    from export.checkpoint.inspection import inspect_checkpoint
    from export.common.plain import printable
    from export.pipeline.manifest import Counts, Nearest, VerdictRow
    from export.pipeline.options import parse_overrides, require_agreement, require_images_agree

    overrides = parse_overrides(settings or [])
    observer = ConsoleObserver()
    try:
        seen = inspect_checkpoint(checkpoint, model, overrides, images, observer.listener("inspect"))
    except Contradiction as contradiction:
        if as_json:
            print(json.dumps(contradiction.as_json(), indent=2))
        else:
            render.problems(contradiction.problems)
        raise
    finally:
        observer.stop()
    from_images = seen.get("upsamplings_from_images")
    if as_json:
        print(json.dumps(seen, indent=2))
    else:
        epoch = f", epoch {seen['epoch']}" if seen["epoch"] is not None else ""
        location = f", weights under {seen['location']!r}" if seen["location"] else ""
        head = f"{checkpoint}: {seen['container']}{location}{epoch}, {', '.join(seen['dtypes'])}"
        out.print(escape(printable(head)), soft_wrap=True)
        out.print(f"sha256 {seen['sha256']}")
        out.print(f"compared with the declared {seen['model']} ({seen['chosen_by']})")
        rows, nearest = [VerdictRow(**row) for row in seen["verdict"]], [Nearest(**of) for of in seen["nearest_models"]]
        render.verdict(rows, nearest, Counts(**seen["counts"]))
        render.contradicted_claims(seen["claims"])
        if from_images is not None:
            image_statistics(seen["image_statistics"])
            render.upsamplings(from_images)
    if strict:
        require_agreement(seen["model"], seen)
        require_images_agree(from_images)
