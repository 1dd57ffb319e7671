"""``convnextpose predict``: show the pose that an exported model finds in a photo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson, JointNames, Precision, Runtime, lower

if TYPE_CHECKING:
    from export.model.camera import Camera

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
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="fp32|…",
            callback=lower,
            help="Draw this precision's pose beside it, with the difference in mm.",
        ),
    ] = None,
    names: JointNames = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="The picture; by default in MODEL/predictions.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the pose on the photo and in space, and write it as JSON beside the picture."""
    import json

    from bench.predict.picture import draw_comparison, draw_prediction
    from bench.predict.prediction import difference, picture_title, predict, prediction_record
    from bench.sessions.exported import load_session, read_export, usual_runtime
    from cli.render.predict import print_notes, print_prediction
    from export.common.errors import BadInput
    from export.common.files import write_image, write_json
    from export.images.photo import read_photo
    from export.pipeline.options import parse_numbers

    box = parse_numbers("--bbox", BBOX, bbox) if bbox is not None else None
    lens = _lens(camera, root_depth)
    if compare == precision:
        raise BadInput("--compare wants another precision", precision, "name another one, such as fp32")
    exported = read_export(model)
    runtime_of = {variant: runtime or usual_runtime(variant) for variant in (precision, compare) if variant}
    name = f"{photo.name}-{'-vs-'.join(runtime_of)}-{runtime_of[precision]}.png"
    picture = out or model / "predictions" / name
    _require_writable(picture, photo, by_user=out is not None)
    image = read_photo(photo)
    sessions = {variant: load_session(exported, name, variant) for variant, name in runtime_of.items()}
    predictions = {
        variant: predict(exported, session, image, box, flip=flip, camera=lens, root_depth_mm=root_depth)
        for variant, session in sessions.items()
    }
    prediction, title = predictions[precision], picture_title(exported, runtime_of[precision], precision)
    if compare is None:
        distance = None
        drawn = draw_prediction(image, prediction, title, names=names)
    else:
        reference, reference_title = predictions[compare], picture_title(exported, runtime_of[compare], compare)
        distance = difference(prediction, reference, compare)
        title = [*title, str(distance)]
        drawn = draw_comparison(image, prediction, title, reference, reference_title, name=compare, names=names)
    session = sessions[precision]
    record = prediction_record(exported, session, photo, image, box, prediction, variant=precision, distance=distance)
    write_image(picture, drawn)
    write_json(picture.with_suffix(".json"), record)
    print_notes(record)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        print_prediction(record, picture)


def _lens(camera: str | None, root_depth: float | None) -> "Camera | None":
    """Return the camera of ``--camera``, checked together with ``--root-depth``."""
    import math

    from export.common.errors import BadInput
    from export.model.camera import Camera
    from export.pipeline.options import parse_numbers

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
    return lens


def _require_writable(picture: Path, photo: Path, *, by_user: bool) -> None:
    """Refuse a picture that would replace the photo or, where the user named it, a file of another kind."""
    from bench.predict.prediction import is_prediction
    from export.common.errors import BadInput

    record = picture.with_suffix(".json")
    if picture.suffix != ".png":
        raise BadInput("the picture is written as PNG", str(picture), "name a .png file with --out")
    if photo.exists() and picture.exists() and picture.samefile(photo):
        raise BadInput("the picture would replace the photo", str(picture), "name another file with --out")
    if by_user and record.exists() and not is_prediction(record):
        do = "name another file with --out; the joints are written beside the picture"
        raise BadInput("a file of another kind would be replaced", str(record), do)
