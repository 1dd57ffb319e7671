"""``convnextpose demo``: run an exported model on a drawn figure with known joints."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import JointNames, Precision, Runtime


def command(
    model: Annotated[Path, typer.Argument(help="The exported demo checkpoint, such as build/demo/XS-atto.")],
    index: Annotated[
        int, typer.Option(min=0, help="Number of the figure; the checkpoint was trained on none of them.")
    ] = 0,
    runtime: Runtime = None,
    precision: Precision = "fp32",
    names: JointNames = False,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture.")] = Path("build/demo/figure.png"),
) -> None:
    """Draw a figure, find its joints with the exported model, and compare them with the known ones."""
    import numpy as np
    from rich.markup import escape

    from bench.predict.picture import OtherPose, draw_prediction
    from bench.predict.prediction import parity_warning, picture_title, predict
    from bench.sessions.exported import load_session, read_export, usual_runtime
    from cli.console import err as stderr
    from cli.console import out as stdout
    from export.common.errors import BadInput
    from export.common.files import write_image
    from export.images.figures import EVALUATION_SEED, draw_scene
    from export.images.photo import from_pixels
    from export.model.joint_sets import HUMAN36M

    exported = read_export(model)
    runtime = runtime or usual_runtime(precision)
    if exported.joint_set != HUMAN36M:
        joints = f"{exported.manifest.model}: {exported.joint_set.name}"
        raise BadInput("figures have Human3.6M's 18 joints", joints, "name the exported demo checkpoint: make demo")
    scene = draw_scene(EVALUATION_SEED, index)
    photo = from_pixels(scene.image, f"figure {index}")
    backend = load_session(exported, runtime, precision)
    depth = float(scene.joints_mm[0, 2])
    prediction = predict(exported, backend, photo, scene.person_box, camera=scene.camera, root_depth_mm=depth)
    assert prediction.camera_mm is not None
    error_mm = np.linalg.norm(
        (prediction.camera_mm - prediction.camera_mm[0]) - (scene.joints_mm - scene.joints_mm[0]), axis=1
    )
    error_px = np.linalg.norm(prediction.image_px - scene.joints_px, axis=1)
    if warning := parity_warning(exported, precision):
        stderr.print(f"[yellow bold]warning:[/] {escape(warning)}")
    title = picture_title(exported, runtime, precision)
    known = OtherPose("known joints", scene.joints_px, scene.joints_mm)
    write_image(out, draw_prediction(photo, prediction, title, known, names=names))
    stdout.print(f"mean error of the joints: {error_px.mean():.1f} px, {error_mm.mean():.0f} mm (figure {index})")
    stdout.print(f"picture: {escape(str(out))}")
