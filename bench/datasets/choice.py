"""Which dataset is meant, from what a user may say."""

from pathlib import Path

from bench.datasets.drawn import DrawnFigures
from bench.datasets.protocol import Dataset
from bench.exported import ExportFolder
from export.errors import BadInput

DATASETS = ("drawn", "coco", "human36m", "mupots")


def open_dataset(name: str, folder: Path | None, protocol: int, count: int, exported: ExportFolder) -> Dataset:
    """Open it for the model's joints and input size.

    Raises:
        BadInput: no such dataset, none where it is looked for, or in another layout.
    """
    size = exported.volume.input_size
    if name == "drawn":
        return DrawnFigures(count, size)
    if name not in DATASETS:
        raise BadInput("unknown dataset", name, f"choose of {', '.join(DATASETS)}")
    if folder is None:
        raise BadInput(f"{name} lies nowhere", "no --data", "name its folder with --data")
    raise NotImplementedError


def report_name(name: str, protocol: int, flip: bool) -> str:
    """What an evaluation's files are called."""
    return name + (f"-p{protocol}" if name == "human36m" else "") + ("-flip" if flip else "")
