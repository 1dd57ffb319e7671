"""``convnextpose predict``: show the pose that an exported model finds in a photo."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, Precision, Runtime

BBOX, CAMERA = "X,Y,W,H", "FX,FY,CX,CY"


def command(
    model: Annotated[Path, typer.Argument(help="The folder that `export` wrote, such as build/XS-atto.")],
    photo: Annotated[Path, typer.Argument(help="An image file.")],
    bbox: Annotated[
        str | None, typer.Option(metavar=BBOX, help="The person's box in pixels; by default the whole photo.")
    ] = None,
    runtime: Runtime = None,
    precision: Precision = "fp32",
    flip: Annotated[bool, typer.Option("--flip", help="Average with the pose in the mirrored crop.")] = False,
    camera: Annotated[
        str | None, typer.Option(metavar=CAMERA, help="Intrinsics in pixels; with --root-depth they give true mm.")
    ] = None,
    root_depth: Annotated[float | None, typer.Option(metavar="MM", help="Distance of the root joint.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="The picture; by default in MODEL/predictions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the pose on the photo and in space, and write it as JSON beside the picture."""
    import json
    import math

    from bench.predict.picture import draw_prediction
    from bench.predict.prediction import is_prediction, parity_warning, predict, prediction_record
    from bench.sessions.exported import load_session, read_export, usual_runtime
    from cli.render.predict import print_notes, print_prediction
    from export.common.errors import BadInput
    from export.common.files import write_image, write_json
    from export.images.photo import read_photo
    from export.model.pose import Camera
    from export.pipeline.options import parse_numbers

    box = parse_numbers("--bbox", BBOX, bbox) if bbox is not None else None
    lens = Camera(*parse_numbers("--camera", CAMERA, camera)) if camera is not None else None
    if (lens is None) != (root_depth is None):
        options = "only --root-depth" if lens is None else "only --camera"
        raise BadInput(
            "true millimetres need camera and distance", options, "give --camera and --root-depth, or neither"
        )
    if lens is not None and not (lens.fx > 0 and lens.fy > 0):
        raise BadInput("a camera's focal lengths are positive", str(camera), f"give {CAMERA} in pixels")
    if root_depth is not None and not 0 < root_depth < math.inf:
        raise BadInput("the root joint lies before the camera", f"{root_depth} mm", "give its distance in mm")
    exported = read_export(model)
    runtime = runtime or usual_runtime(precision)
    picture = out or model / "predictions" / f"{photo.name}-{precision}-{runtime}.png"
    if picture.suffix != ".png":
        raise BadInput("the picture is written as PNG", str(picture), "name a .png file with --out")
    if photo.exists() and picture.exists() and picture.samefile(photo):
        raise BadInput("the picture would replace the photo", str(picture), "name another file with --out")
    if out is not None and picture.with_suffix(".json").exists() and not is_prediction(picture.with_suffix(".json")):
        do = "name another file with --out; the joints are written beside the picture"
        raise BadInput("a file of another kind would be replaced", str(picture.with_suffix(".json")), do)
    image = read_photo(photo)
    backend = load_session(exported, runtime, precision)
    prediction = predict(exported, backend, image, box, flip=flip, camera=lens, root_depth_mm=root_depth)
    record = prediction_record(exported, backend, photo, image, box, prediction, variant=precision)

    title = [f"{record['model']} {precision}, {runtime}, weights: {record['weights']['origin']}"]
    if warning := parity_warning(exported, precision):
        title.append(f"WARNING: {warning.partition(':')[0]}")
    write_image(picture, draw_prediction(image, prediction, title))
    write_json(picture.with_suffix(".json"), record)
    print_notes(record)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        print_prediction(record, picture)
