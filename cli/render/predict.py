"""Output of ``predict``: the joints of one photo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from bench.predict.prediction import Difference
from cli.console import err, out, table


def print_prediction(record: Mapping[str, Any], picture: Path) -> None:
    """Print the joints and the path of the picture."""
    in_camera = record["joints_camera_mm"] is not None
    grid = table("joint", "x (px)", "y (px)", "x (mm)", "y (mm)", "z (mm)")
    space = record["joints_camera_mm"] or record["joints_cube_mm"]
    for name, flat, mm in zip(record["joint_names"], record["joints_image_px"], space, strict=True):
        grid.add_row(name, *(f"{value:.1f}" for value in flat), *(f"{value:.0f}" for value in mm))
    out.print(grid)
    measure = "mm are the camera's" if in_camera else "mm are the cube's: true only if the crop is 2000 mm wide"
    out.print(f"pixels are the photo's; {measure}")
    if record["difference"]:
        out.print(escape(str(Difference(**record["difference"]))))
    out.print(f"picture: {escape(str(picture))}")


def print_notes(record: Mapping[str, Any]) -> None:
    """Print how the photo was prepared, and warnings about it."""
    for text in record["notes"]:
        err.print(f"note: {escape(text)}")
    for text in record["warnings"]:
        err.print(f"[yellow bold]warning:[/] {escape(text)}")
    if record["weights"]["origin"] != "checkpoint":
        err.print(f"[yellow bold]weights: {record['weights']['origin']}[/] — the pose says nothing about people")
