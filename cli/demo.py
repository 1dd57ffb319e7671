"""``convnextpose demo``: a figure drawn for the occasion, and what an exported model sees in it."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Precision, Runtime


def command(
    model: Annotated[Path, typer.Argument(help="The exported demo checkpoint, as build/demo/XS-atto.")],
    index: Annotated[int, typer.Option(min=0, help="Which figure; the checkpoint was trained on none of them.")] = 0,
    runtime: Runtime = None,
    precision: Precision = "fp32",
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture.")] = Path("build/demo/figure.png"),
) -> None:
    """Draw a figure whose joints are known, find them with the exported model, and show both."""
    import numpy as np
    from rich.markup import escape

    from bench.predict.picture import draw_prediction
    from bench.predict.prediction import predict
    from bench.sessions.exported import load_session, read_export, usual_runtime
    from cli.console import out as stdout
    from export.common.errors import BadInput
    from export.common.files import write_image
    from export.images.figures import EVALUATION_SEED, draw_scene
    from export.images.photo import from_pixels
    from export.model.joint_sets import HUMAN36M

    exported = read_export(model)
    runtime = runtime or usual_runtime(precision)
    if exported.joint_set != HUMAN36M:
        named = f"{exported.manifest.model}: {exported.joint_set.name}"
        raise BadInput("figures have Human3.6M's 18 joints", named, "name the exported demo checkpoint: make demo")
    scene = draw_scene(EVALUATION_SEED, index)
    photo = from_pixels(scene.image, f"figure {index}")
    backend = load_session(exported, runtime, precision)
    depth = float(scene.joints_mm[0, 2])
    seen = predict(exported, backend, photo, scene.person_box, camera=scene.camera, root_depth_mm=depth)
    assert seen.camera_mm is not None
    off_mm = np.linalg.norm((seen.camera_mm - seen.camera_mm[0]) - (scene.joints_mm - scene.joints_mm[0]), axis=1)
    off_px = np.linalg.norm(seen.image_px - scene.joints_px, axis=1)
    title = [f"{exported.manifest.model} {precision}, {runtime}, weights: {exported.manifest.weights.origin}"]
    write_image(out, draw_prediction(photo, seen, title))
    stdout.print(f"joints are {off_px.mean():.1f} pixels and {off_mm.mean():.0f} mm off on average (figure {index})")
    stdout.print(f"picture: {escape(str(out))}", soft_wrap=True)
