"""``convnextpose evaluate``: measure the accuracy of an exported model, and its accuracy loss."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, Verbose, lower


def command(
    model: Annotated[Path, typer.Argument(help="The folder that `export` wrote, such as build/XS-atto.")],
    dataset: Annotated[str, typer.Option(help="drawn, coco or human36m.")] = "drawn",
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the dataset; drawn needs none.")] = None,
    protocol: Annotated[int, typer.Option(help="Protocol of human36m: 1 or 2.")] = 2,
    pixels: Annotated[
        str | None,
        typer.Option(
            metavar="stored|shown", help="Pixels that annotations refer to, if images have an EXIF orientation."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of drawn figures.")] = 1024,
    precision: Annotated[
        str | None, typer.Option(metavar="fp32,fp16", callback=lower, help="Exported files; by default all.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Images at a time.")] = 16,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Average over mirrored images; by default as released.")
    ] = None,
    reference: Annotated[bool, typer.Option(help="Also run the PyTorch reference.")] = True,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Measure MPJPE and PA-MPJPE of every exported precision and of the reference on the same images."""
    from bench.accuracy.assemble import evaluation_of, require_finite, run_key
    from bench.accuracy.evaluation import Run, evaluate, open_models, require_fitting
    from bench.datasets.choice import DatasetOptions, open_dataset, report_name
    from bench.sessions.exported import read_export
    from bench.sessions.inference import no_mirrors
    from cli.console import ConsoleObserver
    from cli.render.evaluate import print_dataset_notes, print_evaluation, print_parts
    from export.common.files import require_writable, write_text

    exported = read_export(model)
    options = DatasetOptions(dataset, data, protocol, count, pixels)
    images = open_dataset(options, exported)
    mirrored = images.flip and no_mirrors(exported) is None if flip is None else flip
    require_fitting(exported, images, flip=mirrored)
    folder = model / "accuracy"
    require_writable(folder)
    models = open_models(exported, precision, reference=reference)
    name = report_name(options, images, mirrored)
    run = Run(run_key(exported, images, models, mirrored), folder / f".{name}.npz", models)
    interrupted = run.state.is_file()
    run.resume()
    print_dataset_notes(images.notes, run.done, len(images), restarted=interrupted and not run.done)
    with ConsoleObserver() as observer:
        evaluate(exported, images, run, batch=batch, flip=mirrored, progress=observer.listener(images.name))
    evaluation = evaluation_of(exported, images, run, flip=mirrored)
    report, text = folder / f"{name}.json", evaluation.model_dump_json(indent=2)
    write_text(report, text + "\n")
    run.remove_state()
    if as_json:
        print(text)
    else:
        if verbose:
            print_parts(evaluation)
        print_evaluation(evaluation, model, report)
    require_finite(evaluation)
